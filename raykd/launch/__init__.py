"""Everything that depends on Ray: runs over workers, parallel teachers, searches and studies, jobs, clusters.

Called by commands only. Arrows inside go cluster ← jobs ← worker ← driver ← trials ← teachers ← search.
"""
