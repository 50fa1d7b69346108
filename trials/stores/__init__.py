"""A run in Azure's and Google's stores, as far as emulators are those."""
