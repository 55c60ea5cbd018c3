"""Dead letters: by their cause, one at a time with its fields to mend, and many at once with a look before the leap."""

import json
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.letters import LetterError
from bridge.adapters.ledger.mended import Letter
from bridge.domain.errors import DecodeError
from bridge.domain.incident import CreateBody
from bridge.entrypoints.web import auditing
from bridge.entrypoints.web.ui.words import plural, span
from bridge.entrypoints.web.ui.workshop import Anew, Unable, Workshop

SAMPLE = 5
BULK_MAX = 500  # letters of one cause that one form replays or discards
AGAIN = "its event was received again, under today's rules"


class Letters:
    """The pages and forms under /dead."""

    def __init__(self, ledger: Ledger, workshop: Workshop | None, poke: Any) -> None:
        self._ledger, self._shop, self._poke = ledger, workshop, poke

    def causes_page(self) -> str:
        """All causes, each one row; or the letters of one cause."""
        account, rule, reason = (request.args.get(name, "")[:200] for name in ("account", "rule", "reason"))
        if not account:
            return render_template("dead.html", causes=self._ledger.dead_causes(), number=self._number())
        before = request.args.get("before") or None
        page = self._ledger.dead_letters(account=account, rule=rule, reason=reason, limit=50, before=before)
        cause = {"account": account, "rule": rule, "reason": reason}
        return render_template("letters.html", cause=cause, letters=page, known=self._cause(cause))

    def _cause(self, cause: dict[str, str]) -> dict[str, Any] | None:
        keys = ("account", "rule", "reason")
        every = self._ledger.dead_causes()
        return next((one for one in every if all((one[key] or "") == cause[key] for key in keys)), None)

    def _number(self) -> int:
        return sum(one["number"] for one in self._ledger.dead_causes())

    def letter_page(self, delivery_id: str, fields: dict[str, Any] | None = None, problem: str | None = None) -> Any:
        """One letter: as stored, as today's rules have it, and its fields to change, each with the call it makes."""
        letter = self._ledger.letter(delivery_id)
        if letter is None:
            gone = f"There is no dead letter {delivery_id[:80]}; it may have been replayed or discarded"
            return render_template("problem.html", sentence=gone), 404
        edited: CreateBody | None = None
        if fields is not None and problem is None:
            try:
                edited = self._workshop().edited(letter, fields)
            except Unable as error:
                problem = str(error)
        anew, why_not = self._anew(letter)
        return render_template(
            "letter.html",
            letter=letter,
            delivery=self._ledger.delivery(delivery_id),
            fields=_form_fields(letter.body.fields if fields is None else fields),
            problem=problem,
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
        fields, problem = _fields_in_form()
        if problem is not None or request.form.get("do") != "replay":
            return self.letter_page(delivery_id, fields, problem)
        letter = self._ledger.letter(delivery_id)
        if letter is None:
            return self.letter_page(delivery_id)
        try:
            lane = self._ledger.replayed_mended(delivery_id, self._workshop().edited(letter, fields))
        except (LetterError, Unable) as error:
            return self.letter_page(delivery_id, fields, str(error))
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
        fresh = self._workshop().received_again(anew.event)
        self._ledger.discarded(delivery_id, AGAIN)
        return f"/events/{fresh}"

    def bulk(self) -> Any:
        """Many letters at once: first the number and a sample, then, confirmed, the deed."""
        cause = {name: request.form.get(name, "")[:200] for name in ("account", "rule", "reason")}
        does = request.form.get("do", "")
        ids = [one for one in request.form.getlist("id") if one][:BULK_MAX]
        page = self._ledger.dead_letters(**cause, limit=BULK_MAX)
        chosen = [one for one in page.items if not ids or one["id"] in ids]
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

    def _done(self, ids: list[str], does: str, why: str, account: str) -> Any:
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
        last = "" if does == "discard" or not done else f"; the last goes {self._finish(account, 1)}"
        flash(f"{plural(done, 'letter')} {said}{last}.")
        if refused:
            flash(f"{plural(len(refused), 'letter')} not: {refused[0]}")
        return redirect("/dead", 303)


def add_letters(routes: Blueprint, ledger: Ledger, workshop: Workshop | None, poke: Any) -> None:
    """The routes under /dead but for replaying and discarding one as stored."""
    letters = Letters(ledger, workshop, poke)
    routes.add_url_rule("/dead", "dead", letters.causes_page, methods=["GET"])
    routes.add_url_rule("/dead/<delivery_id>", "letter", letters.letter_page, methods=["GET"])
    routes.add_url_rule("/dead/<delivery_id>/edit", "letter_edit", letters.replay_edited, methods=["POST"])
    routes.add_url_rule("/dead/<delivery_id>/anew", "letter_anew", letters.replay_anew, methods=["POST"])
    routes.add_url_rule("/dead/bulk", "letters_bulk", letters.bulk, methods=["POST"])


def _form_fields(fields: Any) -> list[dict[str, Any]]:
    """The fields of a letter as inputs: texts as they are, everything else as JSON."""
    made = []
    for name, value in fields.items():
        is_text = isinstance(value, str)
        text = value if is_text else json.dumps(value, ensure_ascii=False)
        made.append({"name": name, "text": text, "is_text": is_text, "is_long": len(text) > 80 or "\n" in text})
    return made


def _fields_in_form() -> tuple[dict[str, Any], str | None]:
    """The form's fields, an empty one left out; and the sentence on one that is not what it was."""
    fields: dict[str, Any] = {}
    problem = None
    for key, text in request.form.items():
        if key.startswith("json:") and text.strip():
            try:
                fields[key.removeprefix("json:")] = json.loads(text)
            except ValueError as error:
                problem = f"{key.removeprefix('json:')} is no JSON: {error}"
                fields[key.removeprefix("json:")] = text
        elif key.startswith("text:") and text:
            fields[key.removeprefix("text:")] = text.replace("\r\n", "\n")
    return fields, problem
