"""How messages leave the house: one class per kind of transport behind one protocol."""
