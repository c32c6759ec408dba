"""Where messages come from and go to. No Beam: a transform wires what is done here."""
