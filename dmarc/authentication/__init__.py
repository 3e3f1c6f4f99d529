"""Whether a mail is from whom it says: SPF, DKIM and DMARC, evaluated by us with a resolver that is passed in."""
