"""CLC messages as bytes, for scripted peers: hand-made examples and a reader of streams.

The examples are built from the published message layout (docs/protocol.md), loopback device.
"""

SMCR = bytes.fromhex("e2d4c3d9")
SMCD = bytes.fromhex("e2d4c3c4")
PROPOSAL, ACCEPT, CONFIRM, DECLINE = 1, 2, 3, 4
MESSAGE_BYTES_MAX = 1024  # more than any message of ours

GID = bytes.fromhex("3f1c2a907b4d4e55")
GID_EXT = bytes.fromhex("9c010a1b2c3d4e5f")
LOOPBACK = bytes.fromhex("ffff")


def _eid(name):
    return name.encode().ljust(32)


def proposal():
    """Proposal v2.1, SMC-D v2 only, two user EIDs, one loopback device: 256 bytes."""
    body = bytes(30) + bytes(2)  # peer id, RoCE GID, MAC; iparea_offset 0
    body += bytes(8) + bytes(2) + (28).to_bytes(2, "big")  # native GID, CHID; v2_ext_offset
    body += bytes(28)  # vendor fields, reserved
    body += bytes([2, 2, 0, 0x10]) + bytes(2) + (96).to_bytes(2, "big")
    body += bytes(16) + bytes(2) + (1).to_bytes(2, "big") + bytes(12)
    body += _eid("LOCATION-WEST") + _eid("SMCD-DEMO-EID")
    body += bytes(48)  # no system EID, reserved
    body += GID + LOOPBACK + GID_EXT + LOOPBACK
    return _framed(SMCR, PROPOSAL, 0x26, body)


def _answer(kind, token, group, host):
    body = GID + token + bytes([0, 0x20, 0, 0]) + group + LOOPBACK + _eid("SMCD-DEMO-EID")
    body += GID_EXT + bytes([0, 0x21, 0, 0]) + _eid(host) + bytes([0, 0, 0, 1]) + bytes(12)
    return _framed(SMCD, kind, 0x29, body)


def accept():
    """Accept v2.1, first contact, a token that nobody owns: 130 bytes."""
    return _answer(ACCEPT, bytes.fromhex("deadbeef00c0ffee"), bytes.fromhex("00020000"), "hosta")


def confirm():
    """Confirm v2.1, first contact, a token that nobody owns: 130 bytes."""
    return _answer(CONFIRM, bytes.fromhex("0123456789abcdef"), bytes.fromhex("00030000"), "hosta")


def decline(version=2, code=0x03030008):
    """Decline: 44 bytes in version 2, 28 in version 1."""
    body = bytes(8) + code.to_bytes(4, "big")
    if version == 1:
        return _framed(SMCR, DECLINE, 0x10, body + bytes(4))
    return _framed(SMCR, DECLINE, 0x20, body + bytes([0x20, 0, 0, 0]) + bytes(16))


def _framed(eye, kind, flags, body):
    size = 8 + len(body) + 4
    return eye + bytes([kind]) + size.to_bytes(2, "big") + bytes([flags]) + body + eye


def first_message(stream):
    """(type, size) of the CLC message at the front; None if there is no complete one."""
    if len(stream) < 8 or stream[:4] not in (SMCR, SMCD):
        return None
    kind, size = stream[4], int.from_bytes(stream[5:7], "big")
    if kind not in (PROPOSAL, ACCEPT, CONFIRM, DECLINE) or not 12 <= size <= MESSAGE_BYTES_MAX:
        return None
    if len(stream) < size or stream[size - 4:size] not in (SMCR, SMCD):
        return None
    return kind, size


def strip(stream):
    """(types of the CLC messages at the front, the bytes behind them)."""
    kinds = []
    while True:
        found = first_message(stream)
        if found is None:
            return kinds, stream
        kinds.append(found[0])
        stream = stream[found[1]:]


def check_examples():
    """The sizes that the layout prescribes; a wrong builder would make every test vacuous."""
    sizes = [len(message) for message in (proposal(), accept(), confirm(), decline(), decline(1))]
    if sizes != [256, 130, 130, 44, 28]:
        raise AssertionError(f"message builders are wrong: {sizes}")


check_examples()
