"""How to reach one Asterisk, and every limit of the connection."""

import ssl

import msgspec


class AmiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach one Asterisk, and the limits. Seconds unless said otherwise."""

    host: str = "127.0.0.1"
    port: int = 5038
    username: str = "crosspoint"
    secret: str
    tls: ssl.SSLContext | None = None
    connect_limit_s: float = 3.0
    login_limit_s: float = 5.0
    boot_limit_s: float = 60.0  # an Asterisk that loads for longer is connected to anew
    ping_every_s: float = 5.0
    ping_limit_s: float = 3.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0
    refused_pause_s: float = 60.0  # after a wrong password
    max_pending: int = 5_000
    max_rows: int = 20_000  # of one list
    max_unsent_bytes: int = 1_000_000
    max_message_bytes: int = 262_144

    def __repr__(self) -> str:
        return f"AmiSettings({self.host}:{self.port})"  # never the secret
