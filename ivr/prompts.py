"""What can be said to a caller."""

from enum import StrEnum

import msgspec


class Sound(StrEnum):
    """The fixed prompts; each is a sound file of this name per language, or is spoken from text."""

    INVALID = "invalid"
    NO_INPUT = "no_input"
    POSITION_NEXT = "position_next"
    POSITION_IS = "position_is"
    WAIT_UNDER_A_MINUTE = "wait_under_a_minute"
    WAIT_ABOUT = "wait_about"
    WAIT_OVER = "wait_over"
    MINUTES = "minutes"
    ESCAPE_HINT = "escape_hint"
    CALLBACK_HINT = "callback_hint"
    CALLBACK_CONFIRM = "callback_confirm"
    CALLBACK_CHOICE = "callback_choice"
    CALLBACK_KEY_NUMBER = "callback_key_number"
    CALLBACK_ACCEPTED = "callback_accepted"
    CALLBACK_REFUSED = "callback_refused"
    CALLBACK_UNDIALABLE = "callback_undialable"
    VOICEMAIL_GREETING = "voicemail_greeting"
    VOICEMAIL_SAVED = "voicemail_saved"
    RECORDING_NOTICE = "recording_notice"
    RECORDING_CONSENT = "recording_consent"
    LOGIN_AGENT = "login_agent"
    LOGIN_PIN = "login_pin"
    LOGGED_IN = "logged_in"
    LOGGED_OUT = "logged_out"
    LOGIN_REFUSED = "login_refused"
    WHISPER_QUEUE = "whisper_queue"
    WHISPER_WAITED = "whisper_waited"
    GOODBYE = "goodbye"
    TRY_LATER = "try_later"


class Fixed(msgspec.Struct, frozen=True, tag="fixed"):
    """One of the fixed prompts, in the call's language."""

    sound: Sound


class Speech(msgspec.Struct, frozen=True, tag="speech"):
    """Text to be spoken; `locale` None is the call's language."""

    text: str
    locale: str | None = None


class Number(msgspec.Struct, frozen=True, tag="number"):
    """A whole number, spoken as a quantity."""

    value: int


class Spelled(msgspec.Struct, frozen=True, tag="spelled"):
    """Digits spoken one by one, such as a phone number."""

    digits: str


Prompt = Fixed | Speech | Number | Spelled
