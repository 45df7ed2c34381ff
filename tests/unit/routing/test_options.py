"""The table of the metrics that a StaticRoute may set."""

from static_route_operator.routing.options import METRIC_OPTIONS, describe_metrics, metric_words


def test_entries_are_distinct_and_have_bounds_that_the_kernel_keeps() -> None:
    """A name or number given twice would hide an option; a value of 0 is absent in the kernel, so none may allow it."""
    for names in zip(*((option.field, option.word, option.number) for option in METRIC_OPTIONS), strict=True):
        assert len(set(names)) == len(METRIC_OPTIONS)
    for option in METRIC_OPTIONS:
        assert 1 <= option.minimum <= option.minimum_ipv6 <= option.maximum < 1 << 31


def test_metrics_are_described_by_field_and_in_the_words_of_ip_route() -> None:
    """Every field is there, so that programs need not ask; only what a route sets is in words."""
    first = METRIC_OPTIONS[0]
    described = describe_metrics(((first.number, 1400),))

    assert described == dict.fromkeys(option.field for option in METRIC_OPTIONS) | {first.field: 1400}
    assert metric_words(described) == [f"{first.word} 1400"]
    assert metric_words({}) == []
