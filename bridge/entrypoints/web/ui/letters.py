"""Dead letters: by their cause, one at a time with its fields to mend, and many at once with a look before the leap."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.letters import LetterError
from bridge.adapters.ledger.mended import Letter
from bridge.domain.errors import DecodeError
from bridge.domain.incident import CreateBody
from bridge.entrypoints.web import asked, auditing
from bridge.entrypoints.web.ui.words import plural, span
from bridge.entrypoints.web.ui.workshop import Anew, Unable, Workshop

SAMPLE = 5
BULK_MAX = 500  # letters of one cause that one form replays or discards
AGAIN = "its problems were reported again, under today's rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The form of a letter as somebody sent it: the fields it gives, and its inputs as they were filled."""

    fields: dict[str, Any]
    rows: tuple[dict[str, Any], ...]

    @property
    def is_readable(self) -> bool:
        """Whether every input holds what its field takes."""
        return not any(one["fault"] for one in self.rows)


class Letters:
    """The pages and forms under /dead."""

    def __init__(self, ledger: Ledger, workshop: Workshop | None, poke: Any) -> None:
        self._ledger, self._shop, self._poke = ledger, workshop, poke

    def causes_page(self) -> str:
        """All causes, each one row; or the letters of one cause."""
        account, rule, reason = (request.args.get(name, "")[:200] for name in ("account", "rule", "reason"))
        if not account:
            return render_template("dead.html", causes=self._ledger.dead_causes(), number=self._number())
        page = self._ledger.dead_letters(account=account, rule=rule, reason=reason, limit=50, before=asked.before())
        cause = {"account": account, "rule": rule, "reason": reason}
        return render_template("letters.html", cause=cause, letters=page, known=self._cause(cause))

    def _cause(self, cause: dict[str, str]) -> dict[str, Any] | None:
        keys = ("account", "rule", "reason")
        every = self._ledger.dead_causes()
        return next((one for one in every if all((one[key] or "") == cause[key] for key in keys)), None)

    def _number(self) -> int:
        return sum(one["number"] for one in self._ledger.dead_causes())

    def letter_page(self, delivery_id: str, typed: Typed | None = None, unable: Unable | None = None) -> Any:
        """One letter: as stored, as today's rules have it, and its fields to change, each with the call it makes.

        What was `typed` stays in the form, whatever is wrong with it; `unable` is why it was not replayed.
        """
        letter = self._ledger.letter(delivery_id)
        if letter is None:
            gone = f"There is no dead letter {delivery_id[:80]}; it may have been replayed or discarded"
            return render_template("problem.html", sentence=gone), 404
        edited: CreateBody | None = None
        rows = _rows_of(letter.body.fields) if typed is None else typed.rows
        if typed is not None and typed.is_readable and unable is None:
            try:
                edited = self._workshop().edited(letter, typed.fields)
            except Unable as error:
                unable = error
        anew, why_not = self._anew(letter)
        return render_template(
            "letter.html",
            letter=letter,
            delivery=self._ledger.delivery(delivery_id),
            fields=_with_faults(rows, unable),
            problem=None if unable is None or unable.fields else str(unable),
            stored=self._call(letter, letter.body),
            preview=None if edited is None else self._call(letter, edited),
            anew=anew,
            anew_call=None if anew is None else self._call(letter, anew.body),
            why_not=why_not,
            finish=self._finish(letter.delivery.account, 1),
        )

    def _anew(self, letter: Letter) -> tuple[Anew | None, str | None]:
        if not letter.may_change:
            return None, None
        try:
            return self._workshop().rendered_anew(letter), None
        except Unable as error:
            return None, str(error)

    def _call(self, letter: Letter, body: CreateBody) -> dict[str, Any]:
        try:
            return self._workshop().call_of(letter, body)
        except Unable as error:
            return {"problem": str(error)}

    def _finish(self, account: str, number: int) -> str:
        seconds = self._ledger.finish_s(account, number)
        if seconds is None:
            return "nobody can tell when"
        return "at once" if seconds < 1 else f"about {span(seconds)} from now"

    def _workshop(self) -> Workshop:
        if self._shop is None:
            raise Unable("this bridge runs without its rules")
        return self._shop

    # -- forms

    def replay_edited(self, delivery_id: str) -> Any:
        """The fields of the form, previewed or sent."""
        auditing.nothing_done()  # a preview
        typed = _typed()
        if not typed.is_readable or request.form.get("do") != "replay":
            return self.letter_page(delivery_id, typed)
        letter = self._ledger.letter(delivery_id)
        if letter is None:
            return self.letter_page(delivery_id)
        try:
            lane = self._ledger.replayed_mended(delivery_id, self._workshop().edited(letter, typed.fields))
        except Unable as error:
            return self.letter_page(delivery_id, typed, error)
        except LetterError as error:
            return self.letter_page(delivery_id, typed, Unable(str(error)))
        auditing.did("letter edit", f"delivery {delivery_id}", **auditing.said())
        self._poke(frozenset({lane}))
        flash(f"Back in line with your changes; it goes {self._finish(letter.delivery.account, 1)}.")
        return redirect(f"/incidents/{letter.incident.id}", 303)

    def replay_anew(self, delivery_id: str) -> Any:
        """As today's rules have it."""
        try:
            where = self._one_anew(delivery_id)
        except (LetterError, Unable, DecodeError) as error:
            return auditing.not_done(f"Not replayed: {error}", f"/dead/{delivery_id}")
        flash("Back in line as today's rules have it.")
        return redirect(where, 303)

    def _one_anew(self, delivery_id: str) -> str:
        letter = self._ledger.letter(delivery_id)
        if letter is None:
            raise Unable("it is no dead letter any more")
        if not letter.may_change:
            raise Unable("a call of it may have worked, so it can only be replayed as it is stored")
        anew = self._workshop().rendered_anew(letter)
        if anew.same_key:
            self._poke(frozenset({self._ledger.replayed_mended(delivery_id, anew.body)}))
            return f"/incidents/{letter.incident.id}"
        fresh = self._workshop().reported_again(letter)
        self._ledger.discarded(delivery_id, AGAIN)
        return f"/events/{fresh}"

    def bulk(self) -> Any:
        """Many letters at once: first the number and a sample, then, confirmed, the deed."""
        cause = {name: request.form.get(name, "")[:200] for name in ("account", "rule", "reason")}
        does = request.form.get("do", "")
        ids = [one for one in request.form.getlist("id") if one][:BULK_MAX]
        chosen = self._ledger.dead_letters(**cause, limit=BULK_MAX, among=ids).items
        known = self._cause(cause)
        if not chosen or known is None:
            return auditing.not_done("None of these is a dead letter any more.", "/dead")
        why = request.form.get("why", "").strip()
        if request.form.get("sure") != "yes" or (does == "discard" and not why):
            auditing.nothing_done()  # the look before the leap
            return render_template(
                "bulk.html",
                does=does,
                cause=cause,
                chosen=chosen,
                sample=chosen[:SAMPLE],
                finish=self._finish(cause["account"], len(chosen)),
                more=max(0, known["number"] - len(chosen)) if not ids else 0,
                lacks_reason=request.form.get("sure") == "yes",
            )
        return self._done([one["id"] for one in chosen], does, why, cause["account"])

    def _done(self, ids: Sequence[str], does: str, why: str, account: str) -> Any:
        done, refused = 0, []
        auditing.nothing_done()  # but letter by letter
        for one in ids:
            try:
                if does == "discard":
                    self._ledger.discarded(one, why)
                    auditing.did("discard", f"delivery {one}", reason=why)
                elif does == "anew":
                    self._one_anew(one)
                    auditing.did("letter anew", f"delivery {one}")
                else:
                    lane = self._ledger.replayed(one)
                    auditing.did("replay", f"delivery {one}")
                    self._poke(frozenset({lane}))
                done += 1
            except (LetterError, Unable, DecodeError) as error:
                refused.append(str(error))
        said = "discarded" if does == "discard" else "back in line"
        goes = "it goes" if done == 1 else "the last goes"
        last = "" if does == "discard" else f"; {goes} {self._finish(account, 1)}"
        if done:
            flash(f"{plural(done, 'letter')} {said}{last}.")
        if refused:
            flash(f"{plural(len(refused), 'letter')} not: {refused[0]}", auditing.NOT_DONE)
        return redirect("/dead", 303)


def add_letters(routes: Blueprint, ledger: Ledger, workshop: Workshop | None, poke: Any) -> None:
    """The routes under /dead but for replaying and discarding one as stored."""
    letters = Letters(ledger, workshop, poke)
    routes.add_url_rule("/dead", "dead", letters.causes_page, methods=["GET"])
    routes.add_url_rule("/dead/<delivery_id>", "letter", letters.letter_page, methods=["GET"])
    routes.add_url_rule("/dead/<delivery_id>/edit", "letter_edit", letters.replay_edited, methods=["POST"])
    routes.add_url_rule("/dead/<delivery_id>/anew", "letter_anew", letters.replay_anew, methods=["POST"])
    routes.add_url_rule("/dead/bulk", "letters_bulk", letters.bulk, methods=["POST"])


def _row(name: str, text: str, *, is_text: bool, fault: str | None = None) -> dict[str, Any]:
    """One field as an input: a text as it is, everything else as JSON."""
    is_long = len(text) > 80 or "\n" in text
    return {"name": name, "text": text, "is_text": is_text, "is_long": is_long, "fault": fault}


def _rows_of(fields: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """The fields of a letter as inputs."""
    return tuple(
        _row(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), is_text=is_text)
        for name, value in fields.items()
        for is_text in (isinstance(value, str),)
    )


def _typed() -> Typed:
    """What the form holds: an empty field is not sent, and stays in the form."""
    fields: dict[str, Any] = {}
    rows = []
    for key, said in request.form.items():
        kind, _, name = key.partition(":")
        if kind not in ("json", "text") or not name:
            continue
        text, fault = said.replace("\r\n", "\n"), None
        if kind == "text" and text:
            fields[name] = text
        elif kind == "json" and text.strip():
            try:
                fields[name] = json.loads(text)
            except (ValueError, RecursionError) as error:
                fault = f"this is no JSON: {error}"
        rows.append(_row(name, text, is_text=kind == "text", fault=fault))
    return Typed(fields=fields, rows=tuple(rows))


def _with_faults(rows: Sequence[dict[str, Any]], unable: Unable | None) -> list[dict[str, Any]]:
    """The inputs, each with what is wrong with it; a field that is lacking altogether gets one as well."""
    faulty = () if unable is None else unable.fields
    known = {one["name"] for one in rows}
    lacking = [_row(name, "", is_text=True) for name in faulty if name not in known]
    return [{**one, "fault": str(unable)} if one["name"] in faulty else one for one in (*rows, *lacking)]
