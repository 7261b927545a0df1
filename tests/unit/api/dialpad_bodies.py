"""Bodies as Dialpad sends them, after the field tables and the captured examples."""

from typing import Any

Body = dict[str, Any]  # JSON of the platform: any shape may be put into it


def queue_leg(state: str, *, kind: str = "call_center", **changes: object) -> Body:
    """A call center's leg: it knows its master and its operator's leg."""
    return {
        "call_id": 9100, "master_call_id": 9000, "entry_point_call_id": None,
        "operator_call_id": 9200, "state": state, "direction": "inbound",
        "external_number": "+12125550142", "internal_number": "+12125550100",
        "contact": {"id": 551200, "name": "Ada Example", "phone": "+12125550142", "email": "",
                    "type": "local"},
        "target": {"id": 8001, "type": kind, "name": "Support", "phone": "+12125550111",
                   "email": "", "office_id": 6001},
        "entry_point_target": {}, "proxy_target": {}, "group_id": "CallCenter:8001",
        "date_started": 1770000000123, "date_first_rang": None, "date_queued": 1770000009000,
        "date_rang": None, "date_connected": None, "date_ended": None,
        "event_timestamp": 1770000009050, "duration": None, "total_duration": None,
        "talk_time": None, "hold_time": None, "callback_requested": None, "is_transferred": "FALSE",
        "was_recorded": False, "labels": [], "recording_details": [], "routing_breadcrumbs": [],
        "target_availability_status": "open",
    } | changes  # fmt: skip


def agent_leg(state: str, **changes: object) -> Body:
    """An operator's leg: no master, its entry point is the call center's leg."""
    return {
        "call_id": 9200, "master_call_id": None, "entry_point_call_id": 9100,
        "operator_call_id": None, "state": state, "direction": "inbound",
        "external_number": "+12125550142", "internal_number": "+12125550121",
        "contact": {"id": 551200, "name": "Ada Example", "phone": "+12125550142", "email": "",
                    "type": "local"},
        "target": {"id": 3001, "type": "user", "name": "Op One", "email": "op1@example.org",
                   "phone": "+12125550121", "office_id": 6001},
        "entry_point_target": {"id": 8001, "type": "call_center", "name": "Support"},
        "proxy_target": {}, "group_id": None, "date_started": 1770000009010,
        "date_first_rang": None, "date_queued": None, "date_rang": None, "date_connected": None,
        "date_ended": None, "event_timestamp": 1770000009050, "duration": None,
        "total_duration": None, "talk_time": None, "hold_time": None, "is_transferred": False,
        "was_recorded": "FALSE", "labels": [], "recording_details": [], "routing_breadcrumbs": [],
    } | changes  # fmt: skip


def agent_status(on_duty_status: str, **changes: object) -> Body:
    """An agent status event, in the spelling of the page's sample."""
    return {
        "availability_status": "available", "on_duty_status": on_duty_status,
        "on_duty_status_reason": "", "call_center_ids": ["8001", "8002"],
        "powerdialer_mode": False, "powerdialer_session": None,
        "target": {"id": 3001, "type": "user", "name": "Op One", "email": "op1@example.org",
                   "phone": "+12125550121"},
        "date": 1770000100000, "event_timestamp": 1770000100200,
    } | changes  # fmt: skip
