"""Responses of all kinds, most of them hostile, and the expected bytes of each on the wire.

The model follows the specification and the proto's comments. It shares no code with the edge and the server.
"""

import re
import unicodedata

from hypothesis import strategies as st
from support.edge import FIXED

from callback.v1 import callback_pb2

RESERVED = [
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "content-length", "date", "server", "via", "x-sendfile", "x-sendfile2",
    "x-lighttpd-send-file", "x-litespeed-location", "x-reproxy-url", "x-reproxy-file", "cdn-cache-control",
    "vercel-cdn-cache-control", "surrogate-control", "edge-control", "location", "refresh",
    "clear-site-data", "strict-transport-security", "nel", "report-to", "reporting-endpoints", "alt-svc",
    "service-worker-allowed", "accept-ch", "critical-ch", "origin-agent-cluster", "set-login",
    "secure-session-registration", "use-as-dictionary",
]  # fmt: skip

hostile = st.one_of(
    st.text(max_size=20),
    st.text(alphabet="\r\n\x00\t :;,a\x7f\x80\xff\u0100", max_size=12),
    st.sampled_from(
        ["a\r\nX-Evil: 1", "a\r\n\r\nHTTP/1.1 200 \r\n\r\n", "\r\n", "\n", " a", "a\t", "chunked", "0", "-1", "close"]
    ),
)
names = st.one_of(
    st.sampled_from(
        ["X-A", "content-type", "Content-Type", "Cache-Control", "x-robots-tag", "set-cookie", "x-accel-redirect"]
    ),
    st.sampled_from(RESERVED).map(str.title),
    st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True),
    hostile,
)
values = st.one_of(
    st.text(alphabet=[chr(n) for n in range(0x20, 0x100)], max_size=30),
    st.sampled_from(["x", "a=1; Path=/", "a=1; Domain=a.example", "a=1;domain =b"]),
    hostile,
)
URLS = [
    "https://a.example/", "http://a.example:80/x?y#z", "/page", "//a", "https:/a", "javascript:1", "https://a@b/",
    "https://a..b/", "https://.a/", "https://a./", "https://a:0/", "https://a:65536/", "https://a:080/",
]  # fmt: skip
urls = st.one_of(
    st.sampled_from(URLS),
    st.builds("https://a.example/{}".format, hostile),
    st.from_regex(r"https?://[a-z.]{1,10}(/[!-~]{0,20})?", fullmatch=True),
    hostile,
)
texts = st.one_of(st.text(max_size=20), st.sampled_from(["", "x" * 201, "<b>", "a\nb", "a\r\nb", "a\tb", "\x85"]))
LANGUAGE = "[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}"
codes = st.one_of(
    st.sampled_from([200, 204, 205, 299, 300, 302, 304, 400, 500, 599, 600, 100, 101, 103, 0]),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(190, 610),
)


@st.composite
def responses(draw):
    response = callback_pb2.Response()
    response.response_type = draw(st.sampled_from([2, 2, 2, 2, 1, 1, 3, 3, 0, 4, -1]))
    if draw(st.integers(0, 9)):
        response.response_code = draw(codes if draw(st.booleans()) else st.sampled_from([200, 201, 204, 205, 422, 500]))
    if draw(st.booleans()):
        response.response_body = draw(st.binary(max_size=200))
    if response.response_type == 1 or draw(st.booleans()):
        response.response_redirect_url = draw(urls)
    if draw(st.booleans()):
        wild = draw(st.booleans())
        many = draw(st.sampled_from([0, 1, 2, 3, 5, 64, 65]))
        for _ in range(many):
            name = draw(names) if wild and many < 10 else draw(st.sampled_from(["x-a", "X-B", "Content-Type"]))
            value = draw(values) if many < 10 else "v" * draw(st.sampled_from([1, 100, 200]))
            response.response_headers.headers.add(
                name=name, value=value if wild else value.strip().encode("latin-1", "replace").decode("latin-1")
            )
    if response.response_type == 3 or not draw(st.integers(0, 9)):
        for name in ("response_heading", "response_text", "response_link_label"):
            if draw(st.booleans()):
                setattr(response, name, draw(texts))
        if draw(st.booleans()):
            response.response_link_url = draw(urls)
        if not draw(st.integers(0, 3)):
            response.response_language = draw(st.one_of(texts, st.sampled_from(["nl", "pt-BR", "nl\n", "n", 'nl"'])))
    return response


def rendered(response, method):
    """Return (status, headers, body) as expected on the wire, or None if the expected status is 502."""
    url = response.response_redirect_url
    if response.HasField("response_redirect_url") and not allowed_url(url):
        return None
    code = response.response_code
    if response.HasField("response_code") and not (200 <= code <= 299 or 400 <= code <= 599):
        return None
    fields = [(each.name, each.value) for each in response.response_headers.headers]
    if len(fields) > 64 or not all(allowed_name(name) and allowed_value(value) for name, value in fields):
        return None
    if any(
        name.lower() == "set-cookie" and re.search(r";\s*domain\s*(=|;|$)", value, re.IGNORECASE)
        for name, value in fields
    ):
        return None
    if not allowed_page(response):
        return None
    if response.response_type == 3:
        return rendered_page(response)
    if response.response_type == 1:
        if not url.lower().startswith("http"):
            return None
        return (302 if method == "GET" else 303), [("location", url)], b""
    if response.response_type != 2 or not response.HasField("response_code"):
        return None
    if sum(len(name) + len(value) for name, value in fields) > 8192:
        return None
    unsent = {*FIXED, "set-cookie"}  # the answer names no host of its cookies
    headers = [(name.lower(), value.strip(" \t")) for name, value in fields if name.lower() not in unsent]
    if code in (204, 205):
        return code, headers, b""
    if "content-type" not in dict(headers):
        try:
            response.response_body.decode()
            headers.append(("content-type", "text/plain; charset=utf-8"))
        except UnicodeDecodeError:
            headers.append(("content-type", "application/octet-stream"))
    return code, headers, response.response_body


def rendered_page(response):
    """Return a page as a program gets it: as text."""
    label, link = response.response_link_label, response.response_link_url
    if not response.HasField("response_code") or not response.HasField("response_heading"):
        return None
    if label and not link.lower().startswith("http"):
        return None
    if response.response_code in (204, 205):
        return response.response_code, [], b""
    parts = [response.response_heading, response.response_text, f"{label}: {link}" if label else ""]
    body = "\n\n".join(part for part in parts if part) + "\n"
    headers = [("content-type", "text/plain; charset=utf-8"), ("vary", "accept")]
    if response.HasField("response_language"):
        headers.append(("content-language", response.response_language))
    return response.response_code, headers, body.encode()


def allowed_page(response):
    """Return whether each present attribute of a page is valid by itself."""
    heading, text, label = response.response_heading, response.response_text, response.response_link_label
    return (
        (not response.HasField("response_heading") or 0 < len(heading) <= 200)
        and (not response.HasField("response_language") or re.fullmatch(LANGUAGE, response.response_language))
        and len(text) <= 2000
        and len(label) <= 100
        and not any(unicodedata.category(each) == "Cc" for each in heading + label + re.sub("[\r\n]", "", text))
        and (not response.HasField("response_link_url") or allowed_url(response.response_link_url))
    )


def allowed_name(name):
    return (
        0 < len(name) <= 256
        and all(c.isascii() and (c.isalnum() or c in "!#$%&'*+-.^_`|~") for c in name)
        and name.lower() not in RESERVED
        and not name.lower().startswith(("x-accel-", "x-lighttpd-", "x-litespeed-", "x-reproxy-", "x-sendfile"))
        and not name.lower().endswith("-cdn-cache-control")
    )


def allowed_value(value):
    return all(c == "\t" or 0x20 <= ord(c) < 0x7F or 0x80 <= ord(c) <= 0xFF for c in value)


def allowed_url(url):
    if len(url) > 2048 or "\\" in url or not all("!" <= c <= "~" for c in url):
        return False
    if url.startswith("/"):
        return not url.startswith("//")
    match = re.match(r"https?://([^/?#]+)", url, re.IGNORECASE)
    if not match:
        return False
    authority = re.fullmatch(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]+))?", match[1])
    if not authority:
        return False
    host, port = authority.groups()
    names = [] if host.startswith("[") else host.removesuffix(".").split(".")
    return all(names) and (port is None or (port[0] != "0" and int(port) <= 65_535))
