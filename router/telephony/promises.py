"""The port `Promises`: callbacks, PINs, messages. Never raises; what cannot be written is not promised."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

import msgspec
import structlog

from pbx.machine.commands import Note
from pbx.machine.state import CallState
from pbx.ports import Records
from router.call_record import RECORDED
from router.deadline import Deadline, in_s
from router.errors import ConflictError, CrosspointError, Fault, InvalidInputError, NotFoundError
from router.site.hours import is_open
from router.store.callbacks import ID_PREFIX, About, Callbacks, DuplicateCallbackError
from router.store.mailboxes import Mailboxes, Message, Pins
from router.store.pbx_line import PbxLine
from router.telephony.holding import Holding
from router.telephony.logging_in import LoginDesk
from router.telephony.numbers import Dialable
from router.telephony.pins import is_pin
from router.telephony.recordings import RecordingFiles
from router.telephony.setting_out import Planner

STORE_S: Final = 2.0
PROMISE_S: Final = 6.0
NEWEST: Final = 20
AGAIN_S: Final = 0.25
PLACE_KEPT_MS: Final = 10_000
_log = structlog.get_logger(__name__)


class ClosedError(ConflictError):
    """The queue is closed at this hour; nobody is called back from it."""

    code = "queue_closed"


class CallbackDesk:
    """What may be called back, and the promise itself: for the phone dialogue, the API and the CLI."""

    def __init__(
        self,
        store: Callbacks,
        planner: Planner,
        dialable: Dialable,
        tenant: str,
        *,
        agent_first: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._planner = planner
        self._dialable = dialable
        self._tenant = tenant
        self._agent_first = agent_first
        self._clock = clock

    async def validate(self, queue: str, number: str, deadline: Deadline) -> About:
        """What would be promised. `NotFoundError`, `InvalidInputError`, `ClosedError`,
        `DuplicateCallbackError`."""
        about = self.check(queue, number)
        if await self._store.find_open(self._tenant, about.queue, about.number, deadline):
            raise DuplicateCallbackError
        return about

    async def create(
        self,
        queue: str,
        number: str,
        deadline: Deadline,
        *,
        callback_id: str | None = None,
        call: str | None = None,
        called: str | None = None,
    ) -> About:
        """Promise a callback that stands last in line, once per `callback_id`. Errors as of `validate`.

        `call` is the one that it was promised in, `called` the number that was called then.
        """
        about = self.check(queue, number)
        about = msgspec.structs.replace(about, id=callback_id or about.id, call=call, called=called)
        await self._store.create(self._tenant, about, deadline)
        return about

    def check(self, queue: str, number: str) -> About:
        """Everything but duplicates, which only the store can tell."""
        entry = self._planner.queue(queue)
        if entry is None:
            raise NotFoundError(f"there is no queue {queue}")
        allowed = self._dialable.check(number)
        if allowed is None:
            message = (
                "this number cannot be called back: it is no number, or not of an allowed country"
            )
            raise InvalidInputError(message, field="phone_number")
        if not is_open(entry.calendar, self._clock()):
            raise ClosedError
        return About(
            id=new_callback_id(),
            queue=entry.config.id,
            number=allowed,
            agent_first=self._agent_first,
        )


class StorePromises:
    """Of one PBX of one tenant."""

    def __init__(
        self,
        *,
        desk: CallbackDesk,
        callbacks: Callbacks,
        pbx_line: PbxLine,
        holding: Holding,
        mailboxes: Mailboxes,
        pins: Pins,
        logins: LoginDesk,
        recordings: RecordingFiles,
        records: Records,
        dialable: Dialable,
        tenant: str,
    ) -> None:
        self._desk = desk
        self._callbacks = callbacks
        self._pbx_line = pbx_line
        self._holding = holding
        self._mailboxes = mailboxes
        self._pins = pins
        self._logins = logins
        self._recordings = recordings
        self._records = records
        self._dialable = dialable
        self._tenant = tenant

    async def may_call_back(self, state: CallState, digits: str) -> bool:  # noqa: ARG002 - the port's
        return self._dialable.check(digits) is not None

    async def promise_callback(self, state: CallState, queue: str, number: str) -> bool:
        """Write the promise down; the call's place is its from then on.

        A store that does not answer may have written it: it is asked again until it says so.
        """
        until = in_s(PROMISE_S)
        while True:
            try:
                await self._promise_once(state, queue, number)
                break
            except DuplicateCallbackError:
                break  # this caller will be called back already: that is what was asked for
            except CrosspointError as error:
                if error.fault is Fault.CLIENT or in_s(AGAIN_S) >= until:
                    _log.warning("callback_not_promised", reason=error.code)
                    return False
            await asyncio.sleep(AGAIN_S)
        await self._leave_line(state)
        return True

    async def _promise_once(self, state: CallState, queue: str, number: str) -> None:
        """By whoever had this call before it may be written down, whatever holds by now."""
        written = f"{ID_PREFIX}{state.id}"
        if await self._callbacks.get(self._tenant, written, in_s(STORE_S)) is None:
            await self._promise(state, queue, number)
            _log.info("callback_promised", callback=written)

    async def _promise(self, state: CallState, queue: str, number: str) -> None:
        checked = self._desk.check(queue, number)
        plan = state.queue
        about = About(
            id=f"{ID_PREFIX}{state.id}",  # asked twice (a takeover) it is promised once
            queue=checked.queue,
            number=checked.number,
            agent_first=checked.agent_first,
            priority=plan.priority if plan is not None else 0,
            skills=plan.skills if plan is not None else {},
            relax=plan.relax if plan is not None else (),
            call=state.id,
            called=state.called_number,
        )
        arrival = await self._pbx_line.arrival(self._tenant, state.id, in_s(STORE_S))
        await self._callbacks.create(self._tenant, about, in_s(STORE_S), arrival_ms=arrival)

    async def _leave_line(self, state: CallState) -> None:
        """The caller is about to be let go: nobody is to be reserved for this call any more."""
        self._holding.end(state.id)
        try:
            await self._pbx_line.abandon(self._tenant, state.id, in_s(STORE_S))
        except CrosspointError:
            self._holding.leave_later(state.id, 0)

    async def log_in(self, state: CallState, number: str, pin: str, *, on: bool) -> bool:
        """The PIN first; nothing is changed without it."""
        agent = self._logins.find(number)
        if agent is None or not await self.check_pin(agent.id, pin):
            return False
        try:
            if not on:
                await self._logins.log_out(agent)
            elif not await self._logins.log_in(agent, state.phone):
                self._records.note(state, Note(what="login_without_phone", agent=agent.id))
                return False
        except CrosspointError as error:
            _log.warning("login_failed", reason=error.code)
            return False
        self._records.note(state, Note(what="logged_in" if on else "logged_out", agent=agent.id))
        return True

    async def check_pin(self, agent: str, pin: str) -> bool:
        try:
            kept = await self._pins.begin(self._tenant, agent, in_s(STORE_S))
            if kept is None or not await asyncio.to_thread(is_pin, pin, kept):
                return False
            await self._pins.succeeded(self._tenant, agent, in_s(STORE_S))
        except (CrosspointError, ValueError):
            return False
        return True

    async def keep_message(self, state: CallState, mailbox: str, file: PurePosixPath) -> None:
        """Into the recordings folder, then on the list of the mailbox and into the call's record."""
        files = self._recordings
        kept = await files.hand_over(file.stem) or await files.handed_over(file.stem)
        if not kept:
            self._records.note(state, Note(what="message_lost"))
            return
        name, sha256 = kept[0]
        self._records.note(state, Note(what=RECORDED, detail=f"{name} {sha256} {mailbox}"))
        message = Message(
            call=state.id,
            at_ms=int(time.time() * 1000),
            file=name,
            sha256=sha256,
            caller=state.caller_number,
        )
        try:
            newest = await self._mailboxes.find(self._tenant, mailbox, in_s(STORE_S), limit=NEWEST)
            if all(one.file != name for one in newest):  # else by a controller that died then
                await self._mailboxes.add(self._tenant, mailbox, message, in_s(STORE_S))
            self._records.note(state, Note(what="message_kept", detail=mailbox))
        except CrosspointError as error:
            _log.error("message_not_listed", reason=error.code)
            self._records.note(state, Note(what="message_not_listed", detail=mailbox))


def new_callback_id() -> str:
    """The id of a callback that no call has asked for."""
    return f"{ID_PREFIX}{secrets.token_hex(16)}"
