"""Supabase's tables in the emulators' store."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS supabase_key (id INTEGER PRIMARY KEY CHECK (id = 1), kid TEXT NOT NULL, pem TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS supabase_user (
    id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, role TEXT NOT NULL, password TEXT,
    email_confirmed_at TEXT, invited_at TEXT,
    confirmation_token TEXT, confirmation_sent_at TEXT,
    recovery_token TEXT, recovery_sent_at TEXT,
    new_email TEXT, email_change_token_current TEXT, email_change_token_new TEXT,
    email_change_sent_at TEXT, email_change_confirmations INTEGER NOT NULL,
    last_sign_in_at TEXT, app_metadata TEXT NOT NULL, user_metadata TEXT NOT NULL,
    banned_until TEXT, deleted_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS supabase_identity (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES supabase_user (id) ON DELETE CASCADE,
    provider TEXT NOT NULL, provider_id TEXT NOT NULL, data TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, UNIQUE (provider, provider_id));

CREATE TABLE IF NOT EXISTS supabase_session (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES supabase_user (id) ON DELETE CASCADE,
    method TEXT NOT NULL, counter INTEGER NOT NULL, created_at TEXT NOT NULL, refreshed_at TEXT NOT NULL,
    authenticated_at INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS supabase_refresh_token (
    token TEXT PRIMARY KEY, session_id TEXT NOT NULL REFERENCES supabase_session (id) ON DELETE CASCADE,
    counter INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS supabase_flow (
    id TEXT PRIMARY KEY, user_id TEXT REFERENCES supabase_user (id) ON DELETE CASCADE, method TEXT NOT NULL,
    auth_code TEXT UNIQUE, code_challenge TEXT, code_challenge_method TEXT, redirect_to TEXT,
    provider_token TEXT, created_at TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS supabase_google_code (code TEXT PRIMARY KEY, email TEXT NOT NULL, name TEXT NOT NULL);
"""
