"""Tables of several methods on several pairs, as pure values: statistics, a study's names, published figures."""
