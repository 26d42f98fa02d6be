"""Error numbers of WASI 0.1 (`errno` in its witx), and which of them a host's error is."""

import errno

SUCCESS = 0
ACCES = 2
AFNOSUPPORT = 5
AGAIN = 6
BADF = 8
CONNREFUSED = 14
FAULT = 21
INVAL = 28
IO = 29
NOSYS = 52
NOTDIR = 54
NOTSOCK = 57
NOTSUP = 58
SPIPE = 70

AI_AGAIN = 78
"""From here on WasmEdge's own, for `sock_getaddrinfo`."""
AI_BADFLAG = 79
AI_FAIL = 80
AI_FAMILY = 81
AI_MEMORY = 82
AI_NODATA = 83
AI_NONAME = 84
AI_SERVICE = 85
AI_SOCKTYPE = 86
AI_SYSTEM = 87

_IN_ORDER = """
    E2BIG EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN EALREADY EBADF EBADMSG EBUSY ECANCELED
    ECHILD ECONNABORTED ECONNREFUSED ECONNRESET EDEADLK EDESTADDRREQ EDOM EDQUOT EEXIST EFAULT EFBIG
    EHOSTUNREACH EIDRM EILSEQ EINPROGRESS EINTR EINVAL EIO EISCONN EISDIR ELOOP EMFILE EMLINK
    EMSGSIZE EMULTIHOP ENAMETOOLONG ENETDOWN ENETRESET ENETUNREACH ENFILE ENOBUFS ENODEV ENOENT
    ENOEXEC ENOLCK ENOLINK ENOMEM ENOMSG ENOPROTOOPT ENOSPC ENOSYS ENOTCONN ENOTDIR ENOTEMPTY
    ENOTRECOVERABLE ENOTSOCK EOPNOTSUPP ENOTTY ENXIO EOVERFLOW EOWNERDEAD EPERM EPIPE EPROTO
    EPROTONOSUPPORT EPROTOTYPE ERANGE EROFS ESPIPE ESRCH ESTALE ETIMEDOUT ETXTBSY EXDEV
"""
"""The host's names of errors 1, 2, 3, … of WASI."""

_OF_HOST = {getattr(errno, name): number for number, name in enumerate(_IN_ORDER.split(), 1)}
_OF_HOST |= {
    # Which WASI has no numbers for.
    errno.EHOSTDOWN: _OF_HOST[errno.EHOSTUNREACH],
    errno.ENONET: _OF_HOST[errno.ENETUNREACH],
    errno.ESOCKTNOSUPPORT: _OF_HOST[errno.EPROTONOSUPPORT],
    errno.EPFNOSUPPORT: AFNOSUPPORT,
    errno.ESHUTDOWN: _OF_HOST[errno.EPIPE],
    errno.ETOOMANYREFS: _OF_HOST[errno.ENOBUFS],
}


class Failure(Exception):
    """A call of the guest's fails with the error `number` of WASI."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def of(host: int | None) -> int:
    """The WASI error of one of the host's; IO for what has no counterpart."""
    return _OF_HOST.get(host or 0, IO)
