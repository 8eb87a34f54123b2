"""How documents lie in MongoDB: indexes, validators, the versions of the layout and the steps between them."""
