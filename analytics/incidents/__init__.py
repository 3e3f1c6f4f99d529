"""Incidents: from the signals of the spike detector and the safety nets to one trouble with its cause.

Nothing is imported here: settings of incidents are read by processes that never open the store.
"""
