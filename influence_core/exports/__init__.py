"""What was decided, in the formats of other tools; its tables are made by decisions/corrections.py.

Law: every decision is written and every written decision is exported, in the order of the run. The log belongs to the
run by its id.
"""
