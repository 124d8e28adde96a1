"""Names whose addresses a test changes, for clients in its own process."""

import socket

from callback_shared import addresses


class Names(dict):
    """IP addresses by name, as a resolver knows them, or an error. A name that is not in it does not exist.

    The names end in `.test`. Others are looked up as usual.
    """

    count = 0
    """Number of look-ups."""

    def getaddrinfo(self, host, port, **options):
        if not host.endswith(".test"):
            return socket.getaddrinfo(host, port, **options)
        self.count += 1
        ips = self.get(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if isinstance(ips, Exception):
            raise ips
        return [found for ip in ips for found in socket.getaddrinfo(ip, port, **options)]


def changing_names(limits, **given):
    """Return the names of this test, which clients look up ten times a second."""
    names = Names(given)
    limits(addresses, GETADDRINFO=names.getaddrinfo, INTERVAL_S=0.1, FAILURE_INTERVAL_S=0.02)
    return names
