"""The tables of ai.onnx.ml and the training preview.

Linear models keep their weights in attributes, which the loader makes operands: ``coefficients`` is (neurons,
features), flattened, and ``intercepts`` has one number per neuron.
"""

from __future__ import annotations

from graphneurons.axes.rules.site import NoRule, RuleText, Site


def coefficient_shape(site: Site) -> tuple[int, int]:
    """Neurons and features of a linear model: features come from X (.., features), neurons from what is left.

    Raises `NoRule` where the coefficients are missing or do not divide.
    """
    shape, coefficients = site.shape(0), site.op.attributes.get("coefficients")
    if not isinstance(coefficients, tuple) or not coefficients:
        raise NoRule("attribute coefficients is missing")
    if not shape:
        raise NoRule("the number of features is not known")
    count, features = len(coefficients), shape[-1]
    if features < 1 or count % features:
        raise NoRule(f"{count} coefficients do not make rows of {features} features")
    return count // features, features


def linear_regressor(site: Site) -> str:
    """Y = X C' + intercepts: one neuron per target."""
    neurons, _ = coefficient_shape(site)
    targets = site.number("targets", 1)
    if neurons != targets:
        raise NoRule(f"coefficients for {neurons} neurons, but {targets} targets")
    return f"linear: n i{_stored(site)} -> n o | o={neurons}"


def _stored(site: Site) -> str:
    return ", (o i)" * site.has(1) + ", ~o" * site.has(2)


def linear_classifier(site: Site) -> str:
    """One neuron per class, or one for two classes; the second output holds a score for each class."""
    neurons, _ = coefficient_shape(site)
    labels = site.op.attributes.get("classlabels_ints") or site.op.attributes.get("classlabels_strings") or ()
    classes = len(labels) if isinstance(labels, tuple) else 0
    if neurons == 1 and classes == 2:
        return f"linear: n i{_stored(site)} -> n o => _, n c | o=1 c=2"
    return f"linear: n i{_stored(site)} -> n o => _, n o | o={neurons}"


def support_vectors(site: Site) -> str:
    """SVMClassifier and SVMRegressor compare with stored samples; only without samples are they linear."""
    vectors = site.op.attributes.get("support_vectors")
    if isinstance(vectors, tuple) and vectors:
        return "stop: it compares with support vectors, which are samples and no synapses"
    neurons, _ = coefficient_shape(site)
    if site.op.type == "SVMRegressor" and neurons == 1:
        return f"linear: n i{_stored(site)} -> n o | o=1"
    return f"linear: n i{_stored(site)} -> n o => _, _ | o={neurons}"


_TREES = "stop: decision trees have no synapses"
_TABLES = "stop: it looks values up in a dictionary"

ML: dict[str, RuleText] = {
    "ArrayFeatureExtractor": "stop: it picks features by a list of positions",
    "Binarizer": "map: *x -> *x",
    "CastMap": _TABLES,
    "CategoryMapper": "map: *x -> *x",
    "DictVectorizer": _TABLES,
    "FeatureVectorizer": "stop: it joins features of several operands",
    "Imputer": "map: *x -> *x",
    "LabelEncoder": "map: *x -> *x",
    "LinearClassifier": linear_classifier,
    "LinearRegressor": linear_regressor,
    "Normalizer": "normalisation: *n ^d -> *n ^d",
    "OneHotEncoder": "shape",
    "SVMClassifier": support_vectors,
    "SVMRegressor": support_vectors,
    "Scaler": "map: *x -> *x",
    "TreeEnsemble": _TREES,
    "TreeEnsembleClassifier": _TREES,
    "TreeEnsembleRegressor": _TREES,
    "ZipMap": _TABLES,
}

TRAINING: dict[str, RuleText] = dict.fromkeys(
    ("Adagrad", "Adam", "Gradient", "Momentum"), "stop: it trains the model, and is no part of it"
)
