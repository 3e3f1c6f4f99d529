"""Grafana boards and Prometheus rules as code; generated/ holds what the code makes."""
