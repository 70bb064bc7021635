"""Laws of suspicion: a sample's own label never speaks for it, in any regime, with or without validation labels"""

import numpy as np
import pytest
from sklearn import datasets
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import scale as standardised

from influence_core.scores.plain.confident_learning import confident_learning
from influence_core.scores.plain.knn_shapley import knn_shapley
from influence_core.scores.plain.outputs import baselines, softmax
from influence_core.scores.suspicion.evidence import Evidence, neighbours, readings, taught_by_validation
from influence_core.scores.suspicion.noise_rate import Noise, beats_chance, noise
from influence_core.scores.suspicion.ridge_reader import fit_ridge, of_columns
from influence_core.scores.suspicion.suspicion import Suspicion, as_log_probabilities, suspicion
from influence_core.scores.suspicion.trust import regime
from influence_core.scores.views import View, members, scaled, twin_groups


def alone(n: int) -> dict[int, np.ndarray]:
    return {1: np.arange(n)[:, None]}


def columns(x: np.ndarray) -> np.ndarray:
    return np.column_stack([scaled(View("v", x, x[:0]), 0).train.astype(float), np.ones(len(x))])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_leaving_a_group_out_equals_refitting_without_it(size):
    """The closed form against refits; equal to the in-sample fit would mean that own labels leaked in."""
    rng = np.random.default_rng(size)
    x, labels = columns(rng.normal(size=(12, 3))), rng.integers(0, 2, 12)
    groups = {size: rng.permutation(12).reshape(-1, size)}
    found = fit_ridge(of_columns(x), labels, 2, groups).left_out
    targets = np.eye(2)[labels] - 0.5
    eigenvalues = np.linalg.eigvalsh(x.T @ x)
    gaps = []
    for strength in 10.0 ** np.arange(-5, 2.1, 0.5) * eigenvalues.mean():
        slow = np.zeros_like(found)
        for rows in groups[size]:
            rest = np.setdiff1d(np.arange(12), rows)
            slow[rows] = (
                Ridge(alpha=strength, fit_intercept=False).fit(x[rest], targets[rest]).predict(x[rows])
            )
        gaps.append(np.abs(slow - found).max())
    assert min(gaps) < 1e-4, f"no ridge strength reproduces the left-out scores; nearest {min(gaps):.2g}"


def test_a_samples_own_label_and_its_twins_never_reach_its_evidence():
    rng = np.random.default_rng(1)
    x, labels = rng.normal(size=(60, 8)), rng.integers(0, 3, 60)
    groups = {1: np.arange(2, 60)[:, None], 2: np.array([[0, 1]])}
    for row, changed in ((5, [5]), (0, [0, 1])):
        other = labels.copy()
        other[changed] = (labels[changed] + 1) % 3
        for before, after in zip(
            readings(scaled(View("v", x, x[:0])), labels, 3, groups)[0],
            readings(scaled(View("v", x, x[:0])), other, 3, groups)[0],
            strict=True,
        ):
            # the ridge strength and the class prior may move by one label's worth, not the evidence itself
            gap = np.abs(before.train[row] - after.train[row]).max()
            assert gap < 0.1, f"flipping {changed} moved the {before.reader} evidence of {row} by {gap:.2f}"


def test_a_groups_members_are_no_neighbours_of_each_other():
    x = np.repeat(np.random.default_rng(0).normal(size=(20, 4)), 2, axis=0)
    labels = np.tile([0, 1], 20)
    paired = {2: np.arange(40).reshape(20, 2)}
    found = neighbours(scaled(View("v", x, x[:0]), 0), labels, 2, paired)[0].train
    flipped = labels.copy()
    flipped[0] = 1
    assert np.allclose(
        found[1], neighbours(scaled(View("v", x, x[:0]), 0), flipped, 2, paired)[0].train[1], atol=0.05
    ), "the label of sample 0 spoke for its copy, sample 1"


def test_who_is_taught_by_validation_labels_has_seen_no_training_label_and_not_its_own():
    rng = np.random.default_rng(0)
    view = scaled(View("v", rng.normal(size=(30, 5)), rng.normal(size=(40, 5))))
    labels = rng.integers(0, 3, 40)
    given = rng.integers(0, 3, 30)
    (found,) = taught_by_validation(view, given, labels, 3)
    assert found.train.shape == (30, 3) and found.held_out.shape == (40, 3)
    flipped = labels.copy()
    flipped[7] = (labels[7] + 1) % 3
    (other,) = taught_by_validation(view, given, flipped, 3)
    assert np.abs(found.held_out[7] - other.held_out[7]).max() < 0.1, (
        "a validation sample's own label spoke for it"
    )
    assert taught_by_validation(view, given, labels[:19], 3) == [], "too few labels teach nobody"


def test_errors_that_training_labels_share_are_found_by_validation_labels():
    """Two fifths of one class carry another one's name: whoever learns from those labels learns the error."""
    views, logits, _, truth, _ = planted("early", 4, n=600, rate=0.0)
    given, rng = truth[:600].copy(), np.random.default_rng(0)
    wrong = (given == 0) & (rng.random(600) < 0.45)
    given[wrong] = 1
    logits = logits + 2.0 * np.eye(4)[1] * (truth == 0)[:, None]
    reached = {
        m: roc_auc_score(wrong, read(views, logits, given, truth[600 : 600 + m], 4).suspicion)
        for m in (0, 200)
    }
    assert reached[200] > max(0.99, reached[0] + 0.005), f"validation labels taught nobody: {reached}"


def test_near_copies_are_found_whatever_the_scale_and_crowds_are_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 12))
    x[100:110] = x[:10] + rng.normal(size=(10, 12)) * 0.01
    for scale in (1.0, 1e-3):
        groups = twin_groups(scaled(View("v", x * scale, x[:0])))
        assert (groups[100:110] == groups[:10]).all(), "a copy was not recognised"
        assert len(np.unique(groups)) == 190, "samples that only lie near each other were taken for copies"
    crowd = np.concatenate([x, np.repeat(x[:1], 20, axis=0)])
    assert max(members(twin_groups(scaled(View("v", crowd, x[:0]))))) <= 5, "a crowd is a cluster, not copies"


def planted(regime: str, seed: int, n: int = 500, classes: int = 4, rate: float = 0.15):
    """Blobs with wrong labels; when memorised, the deep layer and the outputs carry the given label."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, n + 200 - classes)])
    centres = rng.normal(size=(classes, 10)) * 1.5
    inner = centres[truth] + rng.normal(size=(n + 200, 10))
    given = truth.copy()
    wrong = np.concatenate([rng.random(n) < rate, np.zeros(200, bool)])
    given[wrong] = (truth[wrong] + rng.integers(1, classes, wrong.sum())) % classes
    believed = np.where(np.arange(n + 200) < n, given, truth) if regime == "memorised" else truth
    deep = centres[believed] * 3 + inner
    logits = 3.0 * np.eye(classes)[believed] + rng.normal(size=(n + 200, classes))
    if regime == "memorised":
        logits[:n] += 6 * np.eye(classes)[given[:n]]
        logits[n:] += rng.normal(size=(200, classes)) * 2
    views = [View(name, v[:n], v[n:]) for name, v in (("the inputs", inner), ("deep", deep))]
    return views, logits, given[:n], truth, wrong[:n]


def read(views, logits, given, held_out_labels, classes) -> Suspicion:
    n, m = len(given), len(held_out_labels)
    evidence = []
    for view in views:
        seen = scaled(View(view.name, view.train, view.held_out[:m]))
        evidence += readings(seen, given, classes, alone(n))[0]
        evidence += taught_by_validation(seen, given, held_out_labels, classes)
    own = Evidence("outputs", "the model", logits[:n], logits[n : n + m])
    return suspicion([*evidence, own], given, held_out_labels, anchor=1)


def assert_bars_agree(found: Suspicion, given: np.ndarray) -> None:
    """What a card draws is what made suspicion and suggestion, and nothing else."""
    rows, bars = np.arange(len(given)), found.beliefs
    assert np.allclose(bars.sum(1), 1), "bars that do not add up to one are no probabilities"
    assert np.allclose(bars[rows, given], 1 - found.suspicion), (
        "the given label's bar is not what suspicion left"
    )
    assert np.allclose(bars[rows, found.suggested], found.suggested_probability)
    others = bars.copy()
    others[rows, given] = -1
    assert (others.argmax(1) == found.suggested).all(), (
        "another label than the suggested one has the longer bar"
    )


@pytest.mark.parametrize("regime_", ["early", "memorised"])
@pytest.mark.parametrize("validated", [200, 0])
def test_suspicion_finds_planted_errors_in_both_regimes(regime_, validated):
    views, logits, given, truth, wrong = planted(regime_, seed=3)
    n = len(given)
    found = read(views, logits, given, truth[n : n + validated], 4)
    reached = roc_auc_score(wrong, found.suspicion)
    loss = roc_auc_score(wrong, -np.log(softmax(logits[:n])[np.arange(n), given]))
    assert reached > 0.95, f"{regime_}, {validated} validation labels: AUROC {reached:.3f}"
    if regime_ == "memorised":
        assert reached > loss + 0.12, (
            f"{reached:.3f} is no better than the loss of a memorised model, {loss:.3f}"
        )
        assert "has memorised" in regime(found.trust), "the run must say that its loss is not informative"
    else:
        assert "has not memorised" in regime(found.trust)
    assert ((found.suspicion >= 0) & (found.suspicion <= 1)).all()
    assert (found.suggested != given).all(), "a suggestion must differ from the given label"
    assert_bars_agree(found, given)
    assert (found.suggested == truth[:n])[wrong].mean() > 0.75, "suggestions should name the right class"
    assert abs(found.suspicion.mean() - wrong.mean()) < 0.06, "the expected count is off"
    assert sum(t.share for t in found.trust) == pytest.approx(1)


@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("validated", [200, 0])
def test_on_a_memorised_model_the_bars_favour_the_suggestion_where_the_label_is_in_doubt(seed, validated):
    """Somebody who follows the longest bar must not be led back to the label that the model repeats."""
    views, logits, given, truth, wrong = planted("memorised", seed, n=600, rate=0.08)
    n = len(given)
    found = read(views, logits, given, truth[n : n + validated], 4)
    doubted = found.suspicion > 0.5
    assert doubted[wrong].mean() > 0.7, f"only {doubted[wrong].mean():.0%} of the wrong labels are in doubt"
    longest = found.beliefs.argmax(1)
    repeated = softmax(logits[:n])[doubted].argmax(1)
    assert (repeated == given[doubted]).mean() > 0.9, (
        "the model must have memorised for this test to mean anything"
    )
    favoured = (longest == found.suggested)[doubted].mean()
    assert favoured >= 0.95, f"the given label has the longest bar in {1 - favoured:.0%} of the doubted cards"
    followed = (longest == truth[:n])[doubted].mean()
    assert followed >= 0.85, (
        f"whoever follows the longest bar is right in {followed:.0%} of the doubted cards only"
    )


def test_witnesses_are_the_parts_of_the_pool_and_name_the_view_that_is_trusted():
    views, logits, given, truth, wrong = planted("memorised", 3)
    found = read(views, logits, given, truth[len(given) : len(given) + 100], 4)
    assert [w.group for w in found.witnesses] == ["unseen", "neighbours", "validation"]
    assert found.view == "the inputs", (
        "the deep layer has memorised the labels, and its neighbours would repeat them"
    )
    doubted = (found.suspicion > 0.5) & wrong
    against = np.any([w.says != given for w in found.witnesses], axis=0)
    assert against[doubted].mean() > 0.95, "wrong labels are doubted, and no witness names another label"
    moved = np.sum([w.weight for w in found.witnesses], axis=0)
    assert moved[doubted].mean() > 0 > moved[~wrong].mean(), (
        "the weights do not tell for whom a witness speaks"
    )
    for witness in found.witnesses:
        assert ((witness.probability > 1 / 4 - 1e-9) & (witness.probability <= 1)).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_clean_labels_are_left_alone(seed):
    views, logits, given, truth, wrong = planted("early", seed, rate=0.0)
    assert not wrong.any()
    flagged = (read(views, logits, given, truth[len(given) :], 4).suspicion >= 0.5).mean()
    assert flagged <= 0.01, f"{flagged:.1%} of clean labels flagged"


def real(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels, all clean: data that come with scikit-learn, and classes that overlap."""
    made = {
        "wine": lambda: datasets.load_wine(return_X_y=True),
        "cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "digits": lambda: datasets.load_digits(n_class=10, return_X_y=True),
        "iris": lambda: datasets.load_iris(return_X_y=True),
        "moons": lambda: datasets.make_moons(600, noise=0.35, random_state=1),
        "overlap": lambda: datasets.make_classification(
            600, 12, n_informative=6, n_classes=4, class_sep=0.6, flip_y=0.0, random_state=7
        ),
    }
    x, labels = made[name]()
    order = np.random.default_rng(0).permutation(len(x))[:600]
    return x[order], labels[order].astype(np.int64)


def read_by_a_fitted_model(x: np.ndarray, given: np.ndarray, held_out: int) -> Suspicion:
    """Inputs and a model that was fitted to the given labels, the first `held_out` samples being validation."""
    model = LogisticRegression(max_iter=500).fit(standardised(x)[held_out:], given[held_out:])
    logits = np.log(model.predict_proba(standardised(x)) + 1e-6)
    order = np.roll(np.arange(len(x)), -held_out)
    view = View("the inputs", x[held_out:], x[:held_out])
    return read([view], logits[order], given[held_out:], given[:held_out], logits.shape[1])


@pytest.mark.parametrize("held_out", [0, 40])
@pytest.mark.parametrize(
    "name",
    [
        "wine",
        "cancer",
        "overlap",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("digits", "iris", "moons")),
    ],
)
def test_hard_is_not_wrong_but_wrong_is_wrong(name, held_out):
    """At most 1 % of clean labels are flagged; where the same labels are spoiled, the spoiled ones are."""
    x, truth = real(name)
    clean = read_by_a_fitted_model(x, truth, held_out)
    flagged = (clean.suspicion >= 0.5).mean()
    assert flagged <= 0.01, f"{flagged:.1%} of the clean labels of {name} flagged"
    assert clean.suspicion.mean() < 0.05, (
        f"{clean.suspicion.mean():.1%} of the clean labels expected to be wrong"
    )
    if name in ("overlap", "moons"):
        return
    rng = np.random.default_rng(1)
    wrong = rng.random(len(truth)) < 0.2
    given = np.where(wrong, (truth + rng.integers(1, truth.max() + 1, len(truth))) % (truth.max() + 1), truth)
    spoiled = read_by_a_fitted_model(x, given, held_out)
    caught, right = spoiled.suspicion >= 0.5, wrong[held_out:]
    assert right[caught].mean() > 0.7, f"only {right[caught].mean():.0%} of the flagged are wrong"
    # 110 to 150 samples gain 1.2 to 1.5 nats here, which hard labels do as well: few are flagged, the order is right
    least = 0.1 if name == "iris" else 0.5
    assert caught.sum() > least * right.sum(), f"{caught.sum()} flagged where {right.sum()} labels are wrong"
    order = roc_auc_score(right, spoiled.suspicion)
    assert order > 0.95, f"wrong labels of {name} are not first: AUROC {order:.3f}"


def overlapping(n: int, concentration: float = 0.3, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n, c) of a reader, and labels drawn from its own beliefs: hard, and all of them right."""
    rng = np.random.default_rng(0)
    scores = np.log(rng.dirichlet([concentration] * classes, size=n) + 1e-4)
    return scores, (rng.random((n, 1)) > softmax(scores).cumsum(1)).sum(1).clip(max=classes - 1)


def thrown(labels: np.ndarray, rate: float, classes: int = 5, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    moved = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(rng.random(len(labels)) < rate, moved, labels)


def level_of(scores: np.ndarray, labels: np.ndarray, held_out_labels: np.ndarray) -> Noise:
    """As suspicion asks: one reader at the sharpness that fits the given labels, the last m rows held out."""
    n = len(labels)
    asked = as_log_probabilities(Evidence("kernel", "v", scores[:n], scores[n:]), labels, held_out_labels)
    return noise([asked], [asked], labels, held_out_labels)


def test_clean_labels_of_classes_that_overlap_are_no_noise():
    """Hard is not wrong: labels drawn from the reader's own beliefs, for which likelihood alone says 10 %."""
    scores, clean = overlapping(3000)
    nobody = np.zeros(0, dtype=np.int64)
    hard, wrong = (level_of(scores, labels, nobody) for labels in (clean, thrown(clean, 0.2)))
    assert hard.support == 0 and hard.rate < 0.02, f"clean labels were taken for noise: {hard}"
    assert wrong.support == 1 and wrong.rate == pytest.approx(0.2, abs=0.06), f"a fifth is wrong: {wrong}"


def test_errors_among_validation_labels_do_not_hide_those_among_training_labels():
    """Errors that look like overlap, and validation labels as bad: both agree alike, so nothing seems to be missing."""
    scores, clean = overlapping(1400, 0.1)
    second = np.argsort(scores, axis=1)[:, -2]
    swapped = np.where(np.arange(1000) % 4 == 0, second[:1000], clean[:1000])
    for spoilt in (0.0, 0.25):
        found = level_of(scores, swapped, thrown(clean[1000:], spoilt))
        assert found.support > 0.5 and found.rate == pytest.approx(0.25, abs=0.1), (
            f"a quarter is wrong, and of the validation labels {spoilt:.0%}: {found}"
        )


def test_bad_validation_labels_alone_make_no_training_label_wrong():
    scores, clean = overlapping(1400, 0.1)
    found = level_of(scores, clean[:1000], thrown(clean[1000:], 0.25))
    assert found.rate < 0.02, f"only validation labels are wrong: {found}"


def test_samples_of_no_class_are_no_overlap_and_weak_readers_see_none():
    """Where the reader knows nothing the label is anybody's guess; who knows little everywhere says nothing."""
    rng = np.random.default_rng(0)
    scores, labels = overlapping(1000, 0.1, classes=8)
    scores[:200] = np.log(rng.dirichlet([8.0] * 8, size=200))
    labels[:200] = rng.integers(0, 8, 200)
    nobody = np.zeros(0, dtype=np.int64)
    found = level_of(scores, labels, nobody)
    assert found.support == 1 and found.rate == pytest.approx(0.2, abs=0.04), f"a fifth has no class: {found}"
    weak = level_of(*overlapping(1000, 1.0, classes=8), nobody)
    assert weak.rate < 0.1 and weak.support < 0.1, f"clean labels, read by somebody who knows little: {weak}"


def test_a_reader_is_asked_also_where_errors_made_one_class_large():
    """Two classes, half of the first called the second: agreement is that of the commonest label, yet it knows much."""
    truth = np.arange(1000) % 2
    given = np.where((truth == 0) & (np.arange(1000) % 4 == 0), 1, truth)
    assert beats_chance(truth, given), (
        "three in four agree, as many as carry the commonest label, but not by chance"
    )
    assert not beats_chance(np.ones(1000, dtype=int), given), (
        "who always says the commonest label knows nothing"
    )


def test_validation_labels_that_fit_much_better_support_noise_and_chance_does_not():
    scores, drawn = overlapping(1200)
    for held_out, supported in ((scores.argmax(1), True), (drawn, False)):
        found = level_of(scores, drawn[:1000], held_out[1000:])
        assert (found.support == 1) == supported, (
            f"{found} where validation fits {'better' if supported else 'alike'}"
        )


def test_inputs_that_tell_nothing_leave_the_level_to_a_layer():
    """Where the view without a network is blind, a layer that predicts unseen labels says how many are wrong."""
    views, logits, given, truth, wrong = planted("early", 3, rate=0.2)
    rng = np.random.default_rng(0)
    blind = View(
        views[0].name, *(rng.normal(size=side.shape) for side in (views[0].train, views[0].held_out))
    )
    found = read([blind, *views[1:]], logits, given, truth[len(given) :], 4)
    assert found.noise.rate == pytest.approx(wrong.mean(), abs=0.1), (
        "a blind view was asked, and nothing was flagged"
    )


def test_labels_that_mean_nothing_are_not_flagged():
    """The null: with permuted labels no reader knows anything, so nothing may stand out."""
    views, logits, given, truth, _ = planted("early", 5)
    shuffled = np.random.default_rng(0).permutation(given)
    noise = np.random.default_rng(1).normal(size=logits.shape)
    held_out = np.random.default_rng(2).permutation(truth[len(given) :])
    found = read(views, noise, shuffled, held_out, 4)
    assert (found.suspicion >= 0.5).mean() <= 0.01, "labels without any meaning were flagged"


def test_permuted_evidence_flags_nothing():
    """The null: evidence of other samples than those it is told to speak of."""
    views, logits, given, truth, _ = planted("early", 5)
    order = np.random.default_rng(0).permutation(len(given))
    shuffled = [View(view.name, view.train[order], view.held_out) for view in views]
    held = np.concatenate([logits[: len(given)][order], logits[len(given) :]])
    for m in (0, 200):
        found = read(shuffled, held, given, truth[len(given) : len(given) + m], 4)
        flagged = (found.suspicion >= 0.5).mean()
        assert flagged <= 0.01, (
            f"{flagged:.1%} flagged by the evidence of other samples, {m} validation labels"
        )


@pytest.mark.parametrize("sizes", [(160, 30, 10), (150, 50)], ids=["three classes", "two classes"])
def test_of_equal_odds_the_label_that_is_said_often_is_doubted_first_unless_there_are_two(sizes):
    """A wrong label is one of the others: it is rarely a rare one, but of two classes always the other one."""
    rng, labels = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    logits = 3.0 * np.eye(len(sizes))[labels] + 0.1 * rng.normal(size=(200, len(sizes)))
    unsure = np.cumsum(sizes) - 1  # one of each class, of which everybody says the same
    logits[unsure] = 0.0
    evidence = [Evidence(reader, "v", logits, logits[:0]) for reader in ("probe", "kernel", "neighbours")]
    found = suspicion(evidence, labels, labels[:0], anchor=1).suspicion[unsure]
    if len(sizes) == 2:
        assert found[0] == pytest.approx(found[1], rel=1e-6), (
            f"{found}: the rare one of two is not drawn more rarely"
        )
    else:
        assert found[0] > found[1] > found[2], (
            f"suspicion {found} of equal beliefs: equal means that a small class, hard to tell, is accused as a whole"
        )


@pytest.mark.parametrize(
    "classes, n",
    [(2, 80), (3, 40), (100, 300)],
    ids=["two classes", "few samples", "100 classes, 3 samples each"],
)
def test_any_number_of_classes_gives_numbers(classes, n):
    views, logits, given, truth, _ = planted("early", 1, n=n, classes=classes)
    for validated in (0, 50):
        found = read(views, logits, given, truth[n : n + validated], classes)
        assert np.isfinite(found.suspicion).all() and np.isfinite(found.suggested_probability).all()
        assert (found.suggested != given).all()


def test_where_there_is_one_class_alone_nothing_is_suspected():
    logits = np.random.default_rng(0).normal(size=(30, 1))
    evidence = [Evidence(reader, "v", logits, logits[:0]) for reader in ("probe", "kernel", "neighbours")]
    found = suspicion(evidence, np.zeros(30, dtype=int), np.zeros(0, dtype=int), anchor=1).suspicion
    assert (found < 1e-3).all(), f"{found.max()}: no other label is left that could be the right one"


def test_a_class_of_one_sample_and_features_that_never_change():
    views, logits, given, truth, _ = planted("early", 2, n=100, classes=3)
    given = np.where(given == 2, 0, given)
    given[50] = 2
    flat = View("flat", np.ones((100, 6)), np.ones((200, 6)))
    found = read([*views, flat], logits, given, truth[100:], 3)
    assert np.isfinite(found.suspicion).all(), "a view that says nothing must not make NaN"
    assert next(t for t in found.trust if t.evidence == "kernel on flat").share < 0.1


def test_knn_shapley_is_the_shapley_value_of_a_tiny_game():
    """Against all subsets: value of a set = mean share of its K nearest with the query's label."""
    from itertools import permutations

    from influence_core.scores.plain import knn_shapley as module

    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 3)), np.array([0, 1, 0, 1, 1])
    query, asked, k = rng.normal(size=(1, 3)), np.array([1]), module.NEIGHBOURS
    found = knn_shapley(scaled(View("v", x, query)), labels, asked)

    def worth(chosen: tuple[int, ...]) -> float:
        return float(sum(labels[list(chosen)] == 1)) / k  # fewer than K samples: all of them are the nearest

    slow = np.zeros(5)
    orders = list(permutations(range(5)))
    for order in orders:
        for place, row in enumerate(order):
            slow[row] += worth(order[: place + 1]) - worth(order[:place])
    assert np.allclose(found, slow / len(orders)), "not the Shapley value"


def test_confident_learning_sees_the_given_labels():
    probabilities = softmax(5 * np.eye(3)[np.arange(60) % 3])
    given = np.arange(60) % 3
    given[7] = (given[7] + 1) % 3
    quality, issues = confident_learning(given, probabilities)
    assert quality.argmin() == 7 and issues == 1, "cleanlab was not given the given labels"
    assert confident_learning(np.zeros(9, int), probabilities[:9])[1] == 0, "one class alone has no issue"


def test_baselines_of_a_memorised_model_agree_with_everything():
    given = np.arange(6) % 3
    assert (baselines(9.0 * np.eye(3)[given], given).margin > 0.9).all()
