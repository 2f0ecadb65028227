"""A server of indexes: search, explain and documents over HTTP, the page, and an MCP tool."""
