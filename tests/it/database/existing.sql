-- As another program made it: names of its own, more columns, a function, and rows.
create table players (
    id text not null,
    name varchar(50) not null constraint name_length check (length(name) > 0),
    created_at timestamptz default now(),
    last_login_at timestamptz default now(),
    metadata jsonb default '{}',
    level integer not null default 1,
    email text,
    email_verified boolean default false,
    email_bound_at timestamptz,
    is_registered boolean default false,
    constraint pk primary key (id),
    constraint one_address unique (email),
    constraint guest_or_registered check (is_registered = (email is not null and email_bound_at is not null))
);
create table player_stats (
    player_id text primary key references players (id) on delete cascade,
    total_battles integer default 0,
    wins integer default 0,
    losses integer default 0,
    draws integer default 0,
    updated_at timestamptz default now()
);
create table battle_records (
    id text primary key default gen_random_uuid()::text,
    player_a_id text not null references players (id),
    player_a_name text not null,
    player_b_id text not null references players (id),
    player_b_name text not null,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    duration_seconds integer,
    winner_id text references players (id),
    battle_result text not null,
    end_reason text not null,
    battle_messages jsonb default '[]',
    final_state jsonb default '{}',
    metadata jsonb default '{}',
    created_at timestamptz default now()
);
create table email_verification_codes (
    id uuid primary key default gen_random_uuid(),
    email text not null,
    code text not null,
    player_id text not null,
    purpose text not null,
    created_at timestamptz default now(),
    expires_at timestamptz default now() + interval '10 minutes',
    used_at timestamptz,
    constraint one_code unique (email, purpose) deferrable initially deferred
);
create function search_players(term text, page_size integer default 20) returns text
    language sql as $$ select 'existing' $$;

insert into players (id, name, created_at, last_login_at, email, email_verified, email_bound_at, is_registered)
values ('V1StGXR8_Z5jdHi6B-myT', 'Ann', '2025-06-20 08:00Z', '2025-06-20 09:00Z', 'ann@game.example', true,
    '2025-06-20 08:05Z', true);
insert into players (id, name, created_at, metadata, level)
values ('0aB1cD2eF3gH4iJ5kL6mN', 'Bob', '2025-06-21 08:00Z', '{"skin": "red"}', 7);
insert into player_stats values ('V1StGXR8_Z5jdHi6B-myT', 1, 1, 0, 0, now());
insert into battle_records (id, player_a_id, player_a_name, player_b_id, player_b_name, battle_result, end_reason)
values ('2f1c9d3e-0000-4000-8000-000000000001', 'V1StGXR8_Z5jdHi6B-myT', 'Ann', '0aB1cD2eF3gH4iJ5kL6mN', 'Bob',
    'abandoned', 'disconnect');
insert into email_verification_codes (email, code, player_id, purpose)
values ('bob@game.example', '123456', '0aB1cD2eF3gH4iJ5kL6mN', 'bind');
