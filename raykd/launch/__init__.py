"""All that knows of Ray: runs over workers, teachers and searches side by side, jobs, clusters.

Called by commands alone. Arrows inside go cluster ← jobs ← worker ← driver ← trials ← teachers ← search.
"""
