"""Tables, their store, migrations."""
