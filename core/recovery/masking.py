"""Bodies as they may be looked at: names, addresses, mails and telephone numbers of people covered, all else there."""

from __future__ import annotations

import json
import re
from typing import Any

from core.logs import mask

COVERED = "***"
_SHOWN_CHARACTERS_MAX = 20_000

# Names of fields as they are compared: in small letters, without what separates their words.
_PEOPLE_WORDS = """
    customer buyer buyerinfo recipient receiver contact billingaddress shippingaddress defaultaddress deliveryaddress
    address addresses shipto billto shipfrom customeraddress destinationaddress customerjourney customerjourneysummary
    clientdetails noteattributes customattributes properties paymentdetails staffmember user
    destination shiptoparty billtoparty recipientaddress buyertaxinfo buyertaxinformation purchasingentity
    deliveryinstructions companycontact authorizedcontact
"""
_PEOPLE = frozenset(_PEOPLE_WORDS.split())
"""Objects that are about a person as a whole: of them only ids and countries are shown."""
_PERSONAL_WORDS = """
    firstname lastname middlename fullname displayname email contactemail buyername buyeremail recipientname
    phone phonenumber mobile fax address1 address2 address3 addressline1 addressline2 addressline3 street
    city zip zipcode postalcode postcode destinationpostalcode company companyname latitude longitude
    browserip clientip ip useragent note customernote giftmessage taxid vatnumber birthday dateofbirth
    attention instructions buyerponumber creditcardname companylegalname
    landingsite referringsite carttoken checkouttoken token orderstatusurl statuspageurl
"""
_PERSONAL = frozenset(_PERSONAL_WORDS.split())
_KEPT_WORDS = """
    id admingraphqlapiid legacyresourceid country countrycode countrycodev2 currency createdat updatedat state
    taxexempt orderscount
"""
_KEPT = frozenset(_KEPT_WORDS.split())
_SEPARATORS = re.compile(r"[^a-z0-9]+")


def masked(value: Any, *, is_personal: bool = False) -> Any:
    """The same structure with what names a person covered; texts elsewhere as a log would show them."""
    if isinstance(value, dict):
        return {name: _field(name, inner, is_personal) for name, inner in value.items()}
    if isinstance(value, list):
        return [masked(inner, is_personal=is_personal) for inner in value]
    if isinstance(value, str):
        return (COVERED if value else value) if is_personal else _text(value)
    if is_personal and isinstance(value, (int, float)) and not isinstance(value, bool):
        return 0
    return value


def _text(value: str) -> str:
    """A text elsewhere; one that is JSON itself, as some queues wrap what they carry, is looked into."""
    if value[:1] in ("{", "["):
        try:
            return json.dumps(masked(json.loads(value)), ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return mask(value)


def _field(name: str, value: Any, is_personal: bool) -> Any:
    known_as = _SEPARATORS.sub("", name.lower())
    if known_as in _KEPT and not isinstance(value, (dict, list)):
        return masked(value)
    return masked(value, is_personal=is_personal or known_as in _PEOPLE or known_as in _PERSONAL)


def shown(text: str) -> str:
    """A text that is no JSON: its shape, with every letter and digit covered, since nothing says what is whose."""
    return re.sub(r"\d", "0", re.sub(r"[^\W\d_]", "x", text[:_SHOWN_CHARACTERS_MAX]))


def as_text(value: Any) -> str:
    """JSON as people read it."""
    return json.dumps(value, indent=2, ensure_ascii=False)
