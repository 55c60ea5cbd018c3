"""The ledger as people act on it: dead letters, incidents by hand, lanes, the audit, and guesses of passwords."""

from collections.abc import Sequence
from datetime import timedelta

from bridge.adapters.ledger import audit, hands, letters, mended, probes, upkeep
from bridge.adapters.ledger.front.base import Base
from bridge.adapters.ledger.reads import Page
from bridge.domain.access import Deed
from bridge.domain.incident import CreateBody


class ForPeople(Base):
    """What people make true, and the record of it."""

    def replayed(self, delivery_id: str) -> str:
        """A dead letter waits in its lane again; answers the lane. Raises LetterError."""
        return self._written(lambda transaction: letters.replay(transaction, self.routes, self.new_id, delivery_id))

    def discarded(self, delivery_id: str, why: str) -> None:
        """A dead letter is put aside with a person's reason. Raises LetterError."""
        self._written(lambda transaction: letters.discard(transaction, self.routes, delivery_id, why))

    def replayed_mended(self, delivery_id: str, body: CreateBody) -> str:
        """A dead create waits in its lane again, with another body; answers the lane. Raises LetterError."""
        return self._written(
            lambda transaction: mended.replay_mended(transaction, self.routes, self.new_id, delivery_id, body)
        )

    def incident_resolved(self, incident_id: str) -> hands.Done:
        """A person ends an incident: it is resolved upstream, or never sent, and with it what stands for it at plan B.

        Raises IncidentError.
        """
        return self._written(lambda transaction: hands.resolve(transaction, self.routes, self.new_id, incident_id))

    def incident_detached(self, incident_id: str) -> hands.Done:
        """The bridge lets go of an incident; a folded one goes out by itself. Raises IncidentError."""
        return self._written(lambda transaction: hands.detach(transaction, self.routes, self.new_id, incident_id))

    def incident_resent(self, incident_id: str) -> hands.Done:
        """Whoever an incident pages is paged anew; answers the incident that is sent. Raises IncidentError."""
        return self._written(lambda transaction: hands.resend(transaction, self.routes, self.new_id, incident_id))

    def incident_noted(self, incident_id: str, text: str) -> hands.Done:
        """A person's note waits to be said in the upstream's incident. Raises IncidentError."""
        return self._written(lambda transaction: hands.note(transaction, self.routes, self.new_id, incident_id, text))

    def probed(self, account: str) -> str | None:
        """An account that refused us is asked again at once. Its lane; None without such an account."""
        route = self.routes.get(account)
        if route is None:
            return None
        self._written(lambda transaction: probes.probe_now(transaction, self.routes, route.lane))
        return route.lane

    def parked_probed(self) -> frozenset[str]:
        """Lanes whose key or permission was refused may be tried now; which they are."""
        return self._written(probes.refused_now)

    def paused(self, account: str) -> str | None:
        """An operator pauses the account's lane: nothing is sent. Its name; None without such an account."""
        return self._pause(account, pause=True)

    def resumed(self, account: str) -> str | None:
        """A paused lane goes on. Its name; None without such an account."""
        return self._pause(account, pause=False)

    def _pause(self, account: str, *, pause: bool) -> str | None:
        route = self.routes.get(account)
        if route is None:
            return None
        lane = route.lane
        self._written(lambda transaction: upkeep.pause(transaction, lane, pause=pause))
        return lane

    def did(self, deed: Deed) -> None:
        """Somebody did something: a line of the audit."""
        self._written(lambda transaction: audit.did(transaction, self.new_id(), deed))

    def audit(
        self, *, limit: int, before: str | None = None, actor: str | None = None, action: str | None = None
    ) -> Page:
        """Who did what, newest first."""
        with self.database.reading() as transaction:
            return audit.entries(transaction, limit=limit, before=before, actor=actor, action=action)

    def guess(self, keys: Sequence[str]) -> bool:
        """One guess of a password is spent for each key; False, and nothing is, when one of them has none left."""
        with self.database.reading() as transaction:
            if not audit.may_guess_now(transaction, keys):
                return False
        return self._written(lambda transaction: audit.guess(transaction, keys))

    def guess_was_right(self, *, whole: str, one: str) -> None:
        """The password was right: one key has all its guesses again, the other the one that was spent."""
        self._written(lambda transaction: audit.was_right(transaction, whole=whole, one=one))

    def session_ended(self, session_id: str, within: timedelta) -> None:
        """Somebody logged out: no copy of the session's cookie is good any more."""
        self._written(lambda transaction: audit.end_session(transaction, session_id, within))

    def has_session_ended(self, session_id: str) -> bool:
        """Whether somebody logged out of this session."""
        with self.database.reading() as transaction:
            return audit.has_ended(transaction, session_id)
