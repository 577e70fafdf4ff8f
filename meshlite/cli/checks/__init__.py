"""What `doctor` looks at: each check looks only, changes nothing that stays, and says what to do."""
