"""How long a run will take: what it does is counted, what each of that takes is measured once per machine."""
