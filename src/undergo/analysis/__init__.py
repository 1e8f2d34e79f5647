"""Questions asked of recordings, and their answers: frozen values for the views and exports."""
