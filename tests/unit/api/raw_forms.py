"""Raw requests in many forms around a verification: the regular form, and everything that differs from it."""

import random
from collections.abc import Callable, Iterator, Sequence
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
CHUNKED: Lines = (b"Transfer-Encoding: chunked",)
END = b"0\r\n\r\n"


def _length(body: bytes, more: int = 0, rest: bytes = b"") -> bytes:
    return b"Content-Length: %d%b" % (max(len(body) + more, 0), rest)


def _chunk(body: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(body), extension, body) if body else b""


#: Header lines that tell where a body ends, and the body as it is sent.
FRAMINGS: dict[str, Callable[[bytes], tuple[Lines, bytes]]] = {
    "length": lambda body: ((_length(body),), body),
    "chunked": lambda body: (CHUNKED, _chunk(body) + END),
    "small chunks": lambda body: (CHUNKED, b"".join(_chunk(bytes([each])) for each in body[:200]) + END),
    "extended chunks": lambda body: (CHUNKED, _chunk(body, b";a=b") + b"0;c\r\n\r\n"),
    "trailers": lambda body: (CHUNKED, _chunk(body) + b"0\r\nAuthorization: Bearer other\r\n\r\n"),
    "broken chunks": lambda body: (CHUNKED, b"zz\r\n" + body + b"\r\n" + END),
    "two codings": lambda body: (CHUNKED * 2, _chunk(body) + END),
    "gzip": lambda body: ((b"Transfer-Encoding: gzip, chunked",), _chunk(body) + END),
    "both lengths": lambda body: ((*CHUNKED, _length(body)), _chunk(body) + END),
    "no length": lambda body: ((), body),
    "short length": lambda body: ((_length(body, -1),), body),
    "long length": lambda body: ((_length(body, 9),), body),
    "two lengths": lambda body: ((_length(body),) * 2, body),
    "odd length": lambda body: ((_length(body, 0, b"x"),), body),
    "negative length": lambda body: ((b"Content-Length: -1",), body),
}
#: Writes in which the head and the framed body arrive.
WRITES: dict[str, Callable[[bytes, bytes], Sequence[bytes]]] = {
    "one": lambda head, body: [head + body],
    "bytes": lambda head, body: [*(bytes([each]) for each in (head + body)[:20]), (head + body)[20:]],
    "head in two": lambda head, body: [head[:40], head[40:] + body],
    "body apart": lambda head, body: [head, body],
    "body in two": lambda head, body: [head + body[:9], body[9:]],
    "end apart": lambda head, body: [head + body[:-5], body[-5:]],
    "late chunk": lambda head, body: [head + body.removesuffix(END), _chunk(b" {}") + END],
    "pipelined": lambda head, body: [3 * (head + body)],
}


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
    writes: str = "one"

    def pieces(self) -> Sequence[bytes]:
        """Return the bytes of the request, in the pieces in which a client writes them."""
        line = b" ".join(part for part in (self.method, self.path, self.version) if part)
        length, body = FRAMINGS[self.framing](self.body)
        lines = (line, *self.host, *self.authorization, *self.content_type, *self.extra, *length, b"", b"")
        return WRITES[self.writes](b"\r\n".join(lines), body)


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
    "framing": tuple(FRAMINGS),
    "writes": tuple(WRITES),
}


#: The regular form at the other path.
FORWARD = Form(method=b"GET", path=b"/auth/forward", content_type=(), body=b"", framing="no length")


def forms(mixed: int, seed: int = 0) -> Iterator[Form]:
    """Yield the regular forms, each form that differs in one part, and `mixed` ones that differ in two or three."""
    for regular in (Form(), replace(Form(), framing="chunked"), FORWARD):
        yield regular
        for part, values in PARTS.items():
            if part == "writes" or regular.framing != "chunked":
                for value in values:
                    yield replace(regular, **{part: value})  # type: ignore[arg-type]
    chance = random.Random(seed)
    for _ in range(mixed):
        parts = chance.sample(list(PARTS), chance.choice((2, 2, 3)))
        regular = chance.choice((Form(), Form(), FORWARD))
        yield replace(regular, **{part: chance.choice(PARTS[part]) for part in parts})  # type: ignore[arg-type]
