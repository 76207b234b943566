"""The comparison of upsamplers: arms, their training and scores, statistics, and the report."""
