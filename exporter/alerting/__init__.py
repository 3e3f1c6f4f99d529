"""Telling people of incidents: by Alertmanager, webhook or mail. What is to be told waits in the store until taken.

Nothing is imported here: the settings of telling are read by processes that never open the store.
"""
