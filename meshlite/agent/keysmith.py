"""A program of its own: makes private keys and their signing requests, prints them as JSON, and ends.

Run as `python -m meshlite.agent.keysmith COUNT`; only a pipe to the agent ever sees the output.
"""

from __future__ import annotations

import json
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def made() -> dict[str, str]:
    """One key. The request's subject is empty, since the server sets all names."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return {"pem": pem.decode(), "csr": request.public_bytes(serialization.Encoding.PEM).decode()}


if __name__ == "__main__":
    json.dump([made() for _ in range(int(sys.argv[1]))], sys.stdout)
