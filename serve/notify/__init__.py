"""Notifications of alerts: what Alertmanager sends, made into messages to people."""
