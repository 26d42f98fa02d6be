"""What can be wrong with keys, signatures and policies. Every message is one line for a person."""


class TrustError(Exception):
    """Anything below."""


class KeyUnusable(TrustError):
    """The file is no key that can be used here; the message says what it is instead."""


class WrongPassword(KeyUnusable):
    """The password does not open the private key."""


class InvalidSignature(TrustError):
    """A signature, or what was signed, is not formed as it must be."""


class InvalidPolicy(TrustError):
    """A policy that cannot be followed, so nothing may run; with file and line."""


class Untrusted(TrustError):
    """An image that may not be used; says what was demanded and what was found."""
