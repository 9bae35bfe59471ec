"""What several methods build on: their students, peers, teachers and heads. Each method stands in a file of its own,
one room up; it may import from here, and from here nothing is imported of a single method."""
