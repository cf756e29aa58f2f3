"""Raw requests in many forms around a verification: the regular form, and everything that differs from it."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

#: Header lines, in order.
Lines = tuple[bytes, ...]

#: A live token, and texts that the fake worker answers with an error.
TOKENS = ("live", "invalid", "forbidden", "unknown", "unavailable", "overloaded", "late", "internal", "crash")
METHODS = (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"post", b"SECRET")
PATHS = (
    *(b"/auth/verify/", b"/auth/verif%79", b"/auth%2Fverify", b"//auth/verify", b"/auth/./verify", b"/AUTH/verify"),
    *(b"/auth/verify?", b"/auth/verify?token=other", b"/auth/verify%3Fx", b"/auth/verify;x", b"/auth/verify%00"),
    *(b"http://edge/auth/verify", b"/auth/verify#f", b"/auth", b"/auth/logout", b"/user/a%2Fb", b"*", b"/%zz"),
    *(b"/introspect", b"/introspect/", b"/auth/forward", b"/auth/forward/page", b"/health/live", b"/nothing"),
)
TOKEN_BYTES = b"a" * 20_481
AUTHORIZATIONS: tuple[Lines, ...] = (
    (),
    *(
        (b"Authorization: " + value,)
        for value in (
            *(b"Bearer " + token.encode() for token in TOKENS[1:]),
            *(b"", b"Bearer", b"Bearer ", b"Bearer  live", b"Bearer\tlive", b"Bearer live ", b" Bearer live"),
            *(b"bearer live", b"BEARER live", b"live", b"Token live", b"Bearer a b", b"Bearer live, Bearer live"),
            *(
                b"Bearer live\t",
                b"Bearer \xe9",
                b"Bearer \xa0live",
                b"Bearer \x1flive",
                b"Bearer \xc3\xa9",
                b"Bearer \x7f",
            ),
            *(
                b"Basic OmxpdmU=",
                b"Basic live",
                b"Bearer jak_0123",
                b"Bearer " + b"a" * 4_000,
                b"Bearer " + TOKEN_BYTES,
            ),
            b"Bearer " + b"a" * 70_000,
        )
    ),
    (b"authorization: Bearer live",),
    (b"AUTHORIZATION: Bearer live",),
    (b"Authorization : Bearer live",),
    (b"Authorization: Bearer live",) * 2,
    (b"Authorization: Bearer live", b"authorization:"),
    (b"authorization: Bearer", b"Authorization: Bearer live"),
    (b"Authorization: Bearer live", b"X-Tenant-ID: other"),
    (b"Authorization: Bearer live", b"X-Registration-Key: k"),
    (b"Proxy-Authorization: Bearer live",),
)
TYPES: tuple[Lines, ...] = (
    (),
    *(
        (b"Content-Type: " + value,)
        for value in (
            *(
                b"",
                b"application/json; charset=utf-8",
                b"application/json;charset=UTF-16",
                b"application/json;",
                b"json",
            ),
            *(b"Application/JSON", b"application/json ", b"application/json, application/json", b"application/json\t"),
            *(b"application/problem+json", b"text/plain", b"text/json", b"application/x-www-form-urlencoded", b"*/*"),
            *(b"multipart/form-data; boundary=x", b"application/jsonp", b"application/ json", b"application/json\xe9"),
        )
    ),
    (b"content-type: application/json",),
    (b"Content-Type: application/json",) * 2,
    (b"Content-Type: application/json", b"Content-Type: text/plain"),
    (b"Content-Type: text/plain", b"Content-Type: application/json"),
    (b"Content-Type: application/json", b"Content-Encoding: gzip"),
)
BODIES = (
    *(b'{"token": "%b"}' % token.encode() for token in TOKENS[1:]),
    *(b"", b" ", b"{}", b"[]", b"null", b'"live"', b"1", b'["token"]', b'[{"token": "live"}]', b"token=live", b"\x00"),
    *(
        b'{"token": null}',
        b'{"token": ""}',
        b'{"token": 1}',
        b'{"token": true}',
        b'{"token": ["live"]}',
        b'{"token": {}}',
    ),
    *(
        b' {"token": "live"}\r\n',
        b'{"token":"live"}',
        b'{"token": "live",}',
        b'{"token": "live"} {}',
        b'{"token": "live"',
    ),
    *(
        b"{'token': 'live'}",
        b'{token: "live"}',
        b'{"token": "live"}//',
        b'\xef\xbb\xbf{"token": "live"}',
        b'{"Token": "live"}',
    ),
    *(
        b'{"token": "live", "token": "invalid"}',
        b'{"token": "invalid", "token": "live"}',
        b'{"token": 1, "token": "live"}',
    ),
    *(b'{"token": "live", "x": NaN}', b'{"token": "live", "x": -Infinity}', b'{"token": "live", "x": 1e999}'),
    *(b'{"token": "live", "x": ' + b"9" * 5_000 + b"}", b'{"token": "live", "x": 1.5, "y": [{}], "z": null}'),
    *(
        b'{"token": "live", "x": ' + b"[" * depth + b"]" * depth + b"}"
        for depth in (10, 150, 198, 199, 200, 201, 2_000)
    ),
    *(b'{"token": "li\\u0076e"}', b'{"\\u0074oken": "live"}', b'{"token": "\\ud800"}', b'{"token": "\\ud83d\\ude00"}'),
    *(b'{"token": "live", "x": "\\udc00"}', b'{"token": "\\u0000"}', b'{"token": "\xc3\xa9"}', b'{"token": "\xe9"}'),
    *(
        b'{"token": "\xed\xa0\x80"}',
        b'{"token": "\n"}',
        b'{"token": " "}',
        b'{"token": " live"}',
        b'{"token": "a\\/b"}',
    ),
    *('{"token": "live"}'.encode(coding) for coding in ("utf-16", "utf-16-le", "utf-32")),
    *(b'{"token": "%b"}' % (b"a" * size) for size in (4_000, 20_480, 20_481, 131_000)),
    *(b'{"token": "live", "x": "%b"}' % (b"a" * size) for size in (1_000, 65_536, 131_072, 200_000)),
    *(b'{"token": "live"}' + b" " * (131_072 - 17 + more) for more in (0, 1)),
    *(
        b'{"tenantToken": "live"}',
        b'{"token": "live", "tenantToken": "other"}',
        b'{"token": "live", "request_id": "r"}',
    ),
)
EXTRAS: tuple[Lines, ...] = (
    *(
        (b"Accept: " + value,)
        for value in (b"*/*", b"application/json", b"text/html", b"application/problem+json", b"")
    ),
    *((b"Origin: " + value,) for value in (b"https://shop.example", b"https://other.example", b"null", b"")),
    (b"Origin: https://shop.example",) * 2,
    (b"Origin: https://shop.example", b"Cookie: a=b"),
    (b"Origin: https://shop.example", b"Access-Control-Request-Method: POST"),
    *((b"X-Request-ID: " + value,) for value in (b"r-2", b"", b"two words", b"\xe9", b"a" * 128, b"a" * 129, b"r-2 ")),
    (b"X-Request-ID: r-2", b"X-Request-ID: r-3"),
    (b"X-Request-ID: two words", b"X-Request-ID: r-3"),
    (b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
    (b"traceparent: wrong", b"tracestate: a=b"),
    *((b"Connection: " + value,) for value in (b"close", b"keep-alive", b"upgrade", b"close, x")),
    (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
    (b"Connection: Upgrade", b"Upgrade: websocket"),
    *((b"Expect: " + value,) for value in (b"100-continue", b"200-ok")),
    (b"X-Forwarded-For: 203.0.113.9", b"X-Forwarded-Proto: https", b"Forwarded: for=203.0.113.9"),
    (b"Cookie: Authorization=Bearer live",),
    (b"Accept-Encoding: gzip", b"If-None-Match: *", b"Range: bytes=0-1", b"TE: trailers"),
    (b"X-HTTP-Method-Override: DELETE",),
    (b"X: " + b"x" * 60_000,),
    (b"X: " + b"x" * 66_000,),
    (b" folded: x",),
    (b"no colon",),
    (b"X: a\x00b",),
    tuple(b"X-%d: x" % number for number in range(200)),
)
HOSTS: tuple[Lines, ...] = ((), (b"Host: edge",) * 2, (b"Host:",), (b"Host: a b",))
VERSIONS = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP", b"")
#: How the end of the body is told, and in which writes it arrives.
FRAMINGS = (
    *("chunked", "small chunks", "extended chunks", "trailers", "broken chunks", "two codings", "gzip", "both lengths"),
    *("no length", "short length", "long length", "two lengths", "odd length", "negative length"),
    *("bytes", "body apart", "body in two", "head in two", "slow chunks", "late chunk", "pipelined"),
)


@dataclass(frozen=True)
class Form:
    """A request with an answer of the service or of the worker to compare; the default is a regular verification."""

    method: bytes = b"POST"
    path: bytes = b"/auth/verify"
    version: bytes = b"HTTP/1.1"
    host: Lines = (b"Host: edge",)
    authorization: Lines = (b"Authorization: Bearer live",)
    content_type: Lines = (b"Content-Type: application/json",)
    extra: Lines = ()
    body: bytes = b'{"token": "live"}'
    framing: str = "length"

    def pieces(self) -> Sequence[bytes]:
        """Return the bytes of the request, in the pieces in which a client writes them."""
        line = b" ".join(part for part in (self.method, self.path, self.version) if part)
        length, body = self._framed()
        lines = (line, *self.host, *self.authorization, *self.content_type, *self.extra, *length, b"", b"")
        head = b"\r\n".join(lines)
        match self.framing:
            case "body apart" | "slow chunks":
                return head, body
            case "late chunk":
                return head + body, b"3\r\n {}\r\n0\r\n\r\n"
            case "body in two":
                return head + body[:5], body[5:]
            case "head in two":
                return head[:40], head[40:] + body
            case "bytes":
                return [*(bytes([each]) for each in (head + body)[:20]), (head + body)[20:]]
            case "pipelined":
                return [3 * (head + body)]
            case _:
                return [head + body]

    def _framed(self) -> tuple[Lines, bytes]:
        body, size = self.body, len(self.body)
        coded: Lines = (b"Transfer-Encoding: chunked",)
        chunk = b"%x\r\n%b\r\n" % (size, body) if size else b""
        small = b"".join(b"1\r\n%b\r\n" % bytes([each]) for each in body[:200])
        match self.framing:
            case "chunked" | "slow chunks":
                return coded, chunk + b"0\r\n\r\n"
            case "late chunk":
                return coded, chunk
            case "small chunks":
                return coded, small + b"0\r\n\r\n"
            case "extended chunks":
                return coded, b"%x;a=b\r\n%b\r\n0;c\r\n\r\n" % (size, body)
            case "trailers":
                return coded, chunk + b"0\r\nAuthorization: Bearer other\r\n\r\n"
            case "broken chunks":
                return coded, b"zz\r\n" + body + b"\r\n0\r\n\r\n"
            case "two codings":
                return coded * 2, chunk + b"0\r\n\r\n"
            case "gzip":
                return (b"Transfer-Encoding: gzip, chunked",), chunk + b"0\r\n\r\n"
            case "both lengths":
                return (*coded, b"Content-Length: %d" % size), chunk + b"0\r\n\r\n"
            case "no length":
                return (), body
            case "short length":
                return (b"Content-Length: %d" % max(size - 1, 0),), body
            case "long length":
                return (b"Content-Length: %d" % (size + 9),), body
            case "two lengths":
                return (b"Content-Length: %d" % size,) * 2, body
            case "odd length":
                return (b"Content-Length: %dx" % size,), body
            case "negative length":
                return (b"Content-Length: -1",), body
            case _:
                return (b"Content-Length: %d" % size,), body


#: The values of each part that differ from a regular verification.
PARTS = {
    "method": METHODS,
    "path": PATHS,
    "version": VERSIONS,
    "host": HOSTS,
    "authorization": AUTHORIZATIONS,
    "content_type": TYPES,
    "extra": EXTRAS,
    "body": BODIES,
    "framing": FRAMINGS,
}


#: The regular form at the other path.
FORWARD = Form(method=b"GET", path=b"/auth/forward", content_type=(), body=b"", framing="no length")


def forms(mixed: int, seed: int = 0) -> Iterator[Form]:
    """Yield the regular forms, each form that differs in one part, and `mixed` ones that differ in two or three."""
    for regular in (Form(), FORWARD):
        yield regular
        for part, values in PARTS.items():
            for value in values:
                yield replace(regular, **{part: value})  # type: ignore[arg-type]
    chance = random.Random(seed)  # noqa: S311 - the same forms in each run
    for _ in range(mixed):
        parts = chance.sample(list(PARTS), chance.choice((2, 2, 3)))
        regular = chance.choice((Form(), Form(), FORWARD))
        yield replace(regular, **{part: chance.choice(PARTS[part]) for part in parts})  # type: ignore[arg-type]
