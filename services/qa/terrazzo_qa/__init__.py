"""The QA service: checks, consensus, adjudication, audits, scorecards."""
