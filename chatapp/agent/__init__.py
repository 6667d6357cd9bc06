"""The agent, its model meter, its tools."""
