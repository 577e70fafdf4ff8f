"""How many certificates the authority signs."""

from __future__ import annotations

import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from bench.figures import Figure, Options, Part, Table
from bench.samples import median
from meshlite.server import ca

TITLE = "Certificates from the authority"
AT_ONCE = 200
NOTES = (
    "one core, the processor's time: the request is read and its signature checked, the certificate signed.",
)
NOW = 1_900_000_000.0
IDENTITY = "spiffe://cluster.local/ns/bench/sa/one"


def measure(options: Options) -> Part:
    authority = ca.create("cluster.local", 86400.0, NOW)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    text = request.sign(ca.new_key(), hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    rates = []
    for _ in range(options.times(10)):
        start = time.process_time()
        for _ in range(AT_ONCE):
            authority.sign(text, IDENTITY, NOW)
        rates.append(AT_ONCE / (time.process_time() - start))
    found = median(rates)
    figure = Figure("certificates signed", found, "/s", "at least", 500)
    table = Table(("certificates/s, p50", "lowest"), ((f"{found:,.0f}", f"{min(rates):,.0f}"),))
    return Part("signing", TITLE, (figure,), (table,), NOTES, {"rates": rates})
