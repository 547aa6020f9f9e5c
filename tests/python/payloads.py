"""Payloads that a parse and a rewrite would change, and one longer than what the store keeps in one piece."""

ODD = [
    b'{"z":1,"a":2,"m":{"y":1,"b":2}}',
    b'{"price":1.10,"tiny":1e-400}',
    b'{"number":12345678901234567890123}',
    b'{"twice":1,"twice":2}',
    b' { "spaces" : [ 1 ,\t2 ] }\r\n',
    b'{"escaped":"\\u0041\\/\\u0000"}',
    b'{"nul":"\x00"}',
    b"\x00\x01\x02",
    b"\xff\xfe\x80 is not UTF-8",
    b"\xef\xbb\xbf{}",
    b"",
    b"MUB1",
    bytes(range(256)) * 6000,
]
