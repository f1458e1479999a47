"""How far two labelings agree, and how good clusters look on their own."""
