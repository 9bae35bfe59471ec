"""Everything that depends on Ray: runs over workers, parallel teachers, searches and studies, jobs, clusters.

Called by commands and api; nothing else imports Ray. Its packages import each other in one direction:
cluster ← run_state ← jobs ← worker ← driver ← trials ← teachers ← search ← study.
"""
