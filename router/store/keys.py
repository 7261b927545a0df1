"""Every key in Redis, one function per key.

All keys of a tenant carry the hash tag `{tenant}`, so that one operation may touch several of them
in a cluster too. Lua derives further keys of the same tenant from `prefix` (the agent that a pick
finds cannot be known before); those have their function here as well, and the same spelling.

Names of queues and skills may hold any character: in the id of a requirement the few that would
be ambiguous are escaped.
"""

from urllib.parse import unquote

from rules.requirements import Requirement

_ESCAPES = str.maketrans({"%": "%25", "|": "%7C", ">": "%3E", "\n": "%0A"})


def prefix(tenant: str) -> str:
    """What every key of the tenant begins with."""
    return f"cp:{{{tenant}}}:"


def queue_id(queue: str) -> str:
    """A queue's name as it stands in keys: also the id of its empty requirement."""
    return queue.translate(_ESCAPES)


def name_of(queue_or_skill_id: str) -> str:
    """The name behind an id of a queue or a skill."""
    return unquote(queue_or_skill_id)


def requirement_id(requirement: Requirement) -> str:
    """`queue|skill>least|...`: begins with the queue's id."""
    if not requirement.skills:
        return requirement.queue.translate(_ESCAPES)
    skills = (f"|{skill.translate(_ESCAPES)}>{least}" for skill, least in requirement.skills)
    return requirement.queue.translate(_ESCAPES) + "".join(skills)


def agent(tenant: str, agent_id: str) -> str:
    """HASH: one agent, configuration and runtime state."""
    return f"cp:{{{tenant}}}:agent:{agent_id}"


def agent_ids(tenant: str) -> str:
    """ZSET, all scores 0: every agent, in order of id."""
    return f"cp:{{{tenant}}}:agent_ids"


def ready(tenant: str, requirement: str) -> str:
    """ZSET agent -> ready at (ms): who can serve this requirement, and from when on."""
    return f"cp:{{{tenant}}}:ready:{requirement}"


def waiting(tenant: str, requirement: str) -> str:
    """ZSET call -> effective arrival (ms): who waits for this requirement."""
    return f"cp:{{{tenant}}}:waiting:{requirement}"


def requirements(tenant: str) -> str:
    """HASH requirement id -> JSON: all that are registered or on their way in or out."""
    return f"cp:{{{tenant}}}:requirements"


def requirements_used(tenant: str) -> str:
    """HASH requirement id -> ms: the completely registered ones and their last use (to the hour)."""
    return f"cp:{{{tenant}}}:requirements_used"


def members(tenant: str, queue: str) -> str:
    """SET: all members of a queue, on duty or not."""
    return f"cp:{{{tenant}}}:members:{queue}"


def rank(tenant: str, kind: str, queue: str) -> str:
    """ZSET agent -> rank of `kind` (level, order, turn), lower first: members on duty."""
    return f"cp:{{{tenant}}}:{kind}:{queue}"


def ranked(tenant: str, kind: str, requirement: str) -> tuple[str, str, str]:
    """The index by rank of who is ready for a requirement, derived from `ready` when it is asked.

    ZSET agent -> rank (and idle since); STRING, ms: up to date until; SET: who took an old place again.
    """
    rest = f"{kind}:{requirement}"
    return (
        f"cp:{{{tenant}}}:ranked:{rest}",
        f"cp:{{{tenant}}}:ranked_until:{rest}",
        f"cp:{{{tenant}}}:ranked_again:{rest}",
    )


def queue_live(tenant: str, queue: str) -> str:
    """HASH: moving averages and counters of one queue."""
    return f"cp:{{{tenant}}}:queue_live:{queue}"


def line(tenant: str, queue: str) -> str:
    """ZSET call -> effective arrival (ms): everybody who waits in the queue, for positions."""
    return f"cp:{{{tenant}}}:line:{queue}"


def arrivals(tenant: str, queue: str) -> str:
    """ZSET call -> arrival (ms): everybody who waits in the queue, for the longest wait."""
    return f"cp:{{{tenant}}}:arrivals:{queue}"


def held(tenant: str, queue: str) -> str:
    """ZSET call -> arrival (ms): callers that the phone system itself holds."""
    return f"cp:{{{tenant}}}:held:{queue}"


def held_call(tenant: str, call: str) -> str:
    """STRING: the queue in which the phone system holds this call."""
    return f"cp:{{{tenant}}}:held_call:{call}"


def unheld(tenant: str, call: str) -> str:
    """STRING, ms: when the phone system said that it holds this call no more."""
    return f"cp:{{{tenant}}}:unheld:{call}"


def call_over(tenant: str, call: str) -> str:
    """STRING, ms: when this call (one leg of the phone system's) ended."""
    return f"cp:{{{tenant}}}:call_over:{call}"


def waiting_call(tenant: str, call: str) -> str:
    """HASH: one call that waits or is being offered."""
    return f"cp:{{{tenant}}}:waiting_call:{call}"


def line_swept(tenant: str, queue: str) -> str:
    """STRING: a full line was searched for calls that nobody looks after, a moment ago."""
    return f"cp:{{{tenant}}}:line_swept:{queue}"


def relax_due(tenant: str) -> str:
    """ZSET call -> ms: when a waiting call asks for less."""
    return f"cp:{{{tenant}}}:relax_due"


def kept_place(tenant: str, queue: str, caller: str) -> str:
    """STRING: arrival (ms) of a caller who dropped out and may come back."""
    return f"cp:{{{tenant}}}:kept_place:{queue}:{caller}"


def request(tenant: str, request_id: str) -> str:
    """STRING, JSON: who was reserved for this request."""
    return f"cp:{{{tenant}}}:request:{request_id}"


def tried(tenant: str, call: str) -> str:
    """SET: agents who left this call unanswered."""
    return f"cp:{{{tenant}}}:tried:{call}"


def talked(tenant: str, caller: str) -> str:
    """STRING `ms agent`: who last talked with this caller."""
    return f"cp:{{{tenant}}}:talked:{caller}"


def resources(tenant: str, kind: str) -> str:
    """HASH id -> JSON: routers, queues or agents as they were described."""
    return f"cp:{{{tenant}}}:{kind}"


def platform_ids(tenant: str, kind: str) -> str:
    """HASH the platform's id -> ours: whose user or call center it is."""
    return f"cp:{{{tenant}}}:platform_ids:{kind}"


def agent_numbers(tenant: str) -> str:
    """HASH the number an agent keys in to log in -> agent."""
    return f"cp:{{{tenant}}}:agent_numbers"


def version(tenant: str) -> str:
    """STRING: version of the tenant's resources, ms of the store's clock, only growing."""
    return f"cp:{{{tenant}}}:version"


def changes(tenant: str) -> str:
    """ZSET `kind:id` -> version of its last change, removal included; bounded."""
    return f"cp:{{{tenant}}}:changes"


def writable(tenant: str) -> str:
    """STRING of no meaning: that it could be written is what counts."""
    return f"cp:{{{tenant}}}:writable"


TENANTS = "cp:tenants"
"""SET: every tenant that has resources."""

ROUTER_IDS = "cp:router_ids"
"""HASH router id -> tenant: a router's id is unique over all tenants."""


def call_memory(tenant: str, scope: str, call: str) -> str:
    """HASH: answers, rounds and digits of one call's routing requests to one router."""
    return f"cp:{{{tenant}}}:call_memory:{scope}:{call}"


def call_answer(tenant: str, scope: str, call: str) -> str:
    """STRING: the answer that went with the reservation for a call's first routing request to one router."""
    return f"cp:{{{tenant}}}:call_answer:{scope}:{call}"


def router_errors(tenant: str, router: str) -> str:
    """LIST `ms code key`, newest first: a router's errors."""
    return f"cp:{{{tenant}}}:router_errors:{router}"


def routers_disabled(tenant: str) -> str:
    """HASH router id -> ms: the routers that are switched off, and since when."""
    return f"cp:{{{tenant}}}:routers_disabled"


def router_resets(tenant: str) -> str:
    """HASH router id -> ms: when a router's errors were last reset; older ones do not count."""
    return f"cp:{{{tenant}}}:router_resets"


def decisions(tenant: str) -> str:
    """STREAM: the decision log."""
    return f"cp:{{{tenant}}}:decisions"


def decisions_off(tenant: str) -> str:
    """HASH: how long after or before its `at_s` an entry of the decision log was written at most."""
    return f"cp:{{{tenant}}}:decisions_off"


def rules_versions(tenant: str) -> str:
    """ZSET digest -> ms: the versions of the rules that are kept, and when each was last in force."""
    return f"cp:{{{tenant}}}:rules_versions"


def rules_version(tenant: str, digest: str) -> str:
    """STRING: one version of a rules file and its lists, packed."""
    return f"cp:{{{tenant}}}:rules_version:{digest}"


def legs(tenant: str, call: str) -> str:
    """SET: the ids of all legs of the conversation that this leg belongs to."""
    return f"cp:{{{tenant}}}:legs:{call}"


def leg(tenant: str, call: str) -> str:
    """STRING `ms agent`: whose leg this is, and when it last began on the reporter's clock."""
    return f"cp:{{{tenant}}}:leg:{call}"


def freed(tenant: str) -> str:
    """CHANNEL: ids of agents who have become free by an operation (not by time)."""
    return f"cp:{{{tenant}}}:freed"


def offered(tenant: str) -> str:
    """CHANNEL: ids of waiting calls that a freed agent was reserved for."""
    return f"cp:{{{tenant}}}:offered"


def live_calls(tenant: str, pbx: str) -> str:
    """HASH call -> JSON: the state of every live call of one PBX."""
    return f"cp:{{{tenant}}}:live_calls:{pbx}"


def pbx_lease(tenant: str, pbx: str) -> str:
    """STRING: the token of the controller that runs this PBX; it lapses."""
    return f"cp:{{{tenant}}}:pbx_lease:{pbx}"


def pbx_owner(tenant: str, pbx: str) -> str:
    """STRING: a word that all controllers of this PBX share, made by the first of them."""
    return f"cp:{{{tenant}}}:pbx_owner:{pbx}"


def pbx_state(tenant: str, pbx: str) -> str:
    """STRING: how it stands with this PBX, as its controller said last; it lapses."""
    return f"cp:{{{tenant}}}:pbx_state:{pbx}"


def call_record(tenant: str, call: str) -> str:
    """HASH: what is known of a call as a whole; `end` once it is over."""
    return f"cp:{{{tenant}}}:call_record:{call}"


def call_events(tenant: str, call: str) -> str:
    """LIST, JSON: what happened to a call, in order."""
    return f"cp:{{{tenant}}}:call_events:{call}"


def call_records(tenant: str) -> str:
    """ZSET call -> began (ms): all records that are kept."""
    return f"cp:{{{tenant}}}:call_records"


def callback(tenant: str, callback_id: str) -> str:
    """HASH: one callback, promised, under way or over."""
    return f"cp:{{{tenant}}}:callback:{callback_id}"


def callbacks(tenant: str) -> str:
    """ZSET callback -> created (ms): all that are kept."""
    return f"cp:{{{tenant}}}:callbacks"


def callback_numbers(tenant: str) -> str:
    """HASH `queue number` -> callback: the open ones, none twice."""
    return f"cp:{{{tenant}}}:callback_numbers"


def callbacks_due(tenant: str) -> str:
    """ZSET callback -> ms: when somebody has to see to it next."""
    return f"cp:{{{tenant}}}:callbacks_due"


def pins(tenant: str) -> str:
    """HASH agent -> salted hash of the PIN."""
    return f"cp:{{{tenant}}}:pins"


def phones(tenant: str) -> str:
    """HASH agent -> endpoint of the phone at which the agent logged in."""
    return f"cp:{{{tenant}}}:phones"


def pin_tries(tenant: str, agent_id: str) -> str:
    """STRING: wrong PINs in a row of late."""
    return f"cp:{{{tenant}}}:pin_tries:{agent_id}"


def messages(tenant: str, mailbox: str) -> str:
    """LIST, JSON, newest first: messages left for a mailbox; lapses with the newest."""
    return f"cp:{{{tenant}}}:messages:{mailbox}"


def pbxs(tenant: str) -> str:
    """ZSET PBX -> ms: when its controller last looked for commands."""
    return f"cp:{{{tenant}}}:pbxs"


def pbx_inbox(tenant: str, pbx: str) -> str:
    """LIST: ids of commands that the controller of this PBX has not taken yet."""
    return f"cp:{{{tenant}}}:pbx_inbox:{pbx}"


def pbx_command(tenant: str, command: str) -> str:
    """HASH: one command to a controller, and what became of it; short-lived."""
    return f"cp:{{{tenant}}}:pbx_command:{command}"


def pbx_told(tenant: str, pbx: str) -> str:
    """CHANNEL: ids of commands just put into that PBX's inbox."""
    return f"cp:{{{tenant}}}:pbx_told:{pbx}"


def call_labels(tenant: str, call: str) -> str:
    """STRING, JSON: the labels somebody has put on a call."""
    return f"cp:{{{tenant}}}:call_labels:{call}"
