"""What shadow rules would have done, from the records alone."""

from bridge.domain.shadow import NOTHING, Decided, Line, ShadowRule, shadow_report


def shadow(rule: str = "trial", series: str = "s1", account: str = "pd") -> Decided:
    return Decided(rule=rule, account=account, outcome="shadow", series=series)


def line(fingerprint: str, *decisions: Decided, status: str = "firing", event: str = "e") -> Line:
    return Line(
        event=event, source="am", fingerprint=fingerprint, title=f"{fingerprint} down", status=status,
        decisions=decisions,
    )  # fmt: skip


def test_the_first_report_opens_others_join_repeats_change_nothing_and_the_last_end_resolves() -> None:
    over = [line("a", status="resolved"), line("b", status="resolved")]
    (found,) = shadow_report(
        [line("a", shadow()), line("b", shadow()), line("a", shadow()), *over, line("a", shadow(), event="again")]
    )
    assert found == ShadowRule(
        rule="trial",
        accounts=("pd",),
        alerts=4,
        opened=2,
        joined=1,
        repeated=1,
        resolved=1,
        open=1,
        really={NOTHING: 4},
        samples=(("e", "a down"), ("again", "a down")),
    )


def test_beside_it_stands_what_other_rules_made_of_the_same_alerts() -> None:
    live = Decided(rule="r", account="pd", outcome="opened", series="x")
    (found,) = shadow_report([line("a", shadow(), live), line("b", shadow(series="s2"), live), line("c", live)])
    assert (found.alerts, found.really) == (2, {"opened": 2})


def test_an_end_reaches_every_series_the_problem_fires_in_under_every_rule() -> None:
    lines = [line("a", shadow("one"), shadow("two", account="io")), line("a", status="resolved")]
    assert [(one.rule, one.resolved, one.open, one.accounts) for one in shadow_report(lines)] == [
        ("one", 1, 0, ("pd",)),
        ("two", 1, 0, ("io",)),
    ]


def test_a_rule_that_decided_nothing_is_listed_when_it_is_named() -> None:
    assert shadow_report([], ["quiet"]) == (ShadowRule(rule="quiet"),)
    assert shadow_report([line("a", Decided(rule=None, account=None, outcome="unmatched", series=None))]) == ()


def test_first_titles_are_shown_and_no_more() -> None:
    (found,) = shadow_report([line(str(number), shadow(series=str(number))) for number in range(50)])
    assert [title for _, title in found.samples] == ["0 down", "1 down", "2 down", "3 down", "4 down"]
