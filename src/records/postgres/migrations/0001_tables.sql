-- The tables of the existing server (contract 6.2). Each one that is there already is adopted: none of its
-- rows is touched, columns that it lacks are added, and it keeps its own constraints, indexes and policies.

create temporary table made on commit drop as
    select name from unnest(array['players', 'player_stats', 'battle_records', 'email_verification_codes']) as name
    where to_regclass(name) is null;

create table if not exists players (
    id text primary key,
    name text not null check (char_length(name) between 1 and 50),
    created_at timestamptz not null default now(),
    last_login_at timestamptz not null default now(),
    metadata jsonb not null default '{}',
    email text unique
        check (email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$'),
    email_verified boolean not null default false,
    email_bound_at timestamptz,
    is_registered boolean not null default false,
    constraint players_guest_or_registered check (
        (not is_registered and email is null and not email_verified and email_bound_at is null)
        or (is_registered and email is not null and email_verified and email_bound_at is not null)
    )
);

create table if not exists player_stats (
    player_id text primary key references players (id) on delete cascade,
    total_battles integer not null default 0 check (total_battles >= 0),
    wins integer not null default 0 check (wins >= 0),
    losses integer not null default 0 check (losses >= 0),
    draws integer not null default 0 check (draws >= 0),
    updated_at timestamptz not null default now(),
    constraint player_stats_total_is_the_sum check (total_battles = wins + losses + draws)
);

create table if not exists battle_records (
    id text primary key default gen_random_uuid()::text,
    player_a_id text not null references players (id),
    player_a_name text not null,
    player_b_id text not null references players (id),
    player_b_name text not null,
    started_at timestamptz not null default now(),
    ended_at timestamptz,
    duration_seconds integer check (duration_seconds > 0),
    winner_id text references players (id),
    battle_result text not null
        check (battle_result in ('player_a_wins', 'player_b_wins', 'draw', 'abandoned')),
    end_reason text not null
        check (end_reason in ('all_pet_fainted', 'surrender', 'timeout', 'disconnect')),
    battle_messages jsonb not null default '[]',
    final_state jsonb not null default '{}',
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    constraint battle_records_two_players check (player_a_id <> player_b_id),
    constraint battle_records_winner_has_played
        check (winner_id is null or winner_id in (player_a_id, player_b_id)),
    constraint battle_records_end_has_a_duration
        check ((ended_at is null) = (duration_seconds is null))
);

create table if not exists email_verification_codes (
    id uuid primary key default gen_random_uuid(),
    email text not null,
    code text not null check (char_length(code) = 6),
    player_id text not null,
    purpose text not null check (purpose in ('bind', 'recover')),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null default now() + interval '10 minutes',
    used_at timestamptz,
    constraint email_verification_codes_one_for_a_purpose
        unique (email, purpose) deferrable initially immediate
);

-- What an adopted table may lack. Nothing is asked of its owner where nothing is missing.
do $$
declare
    missing record;
begin
    for missing in
        select wanted.of, wanted.name, wanted.type
        from (values
            ('players', 'created_at', 'timestamptz default now()'),
            ('players', 'last_login_at', 'timestamptz default now()'),
            ('players', 'metadata', 'jsonb default ''{}'''),
            ('players', 'email', 'text'),
            ('players', 'email_verified', 'boolean default false'),
            ('players', 'email_bound_at', 'timestamptz'),
            ('players', 'is_registered', 'boolean default false'),
            ('player_stats', 'updated_at', 'timestamptz default now()'),
            ('battle_records', 'battle_messages', 'jsonb default ''[]'''),
            ('battle_records', 'final_state', 'jsonb default ''{}'''),
            ('battle_records', 'metadata', 'jsonb default ''{}'''),
            ('battle_records', 'created_at', 'timestamptz default now()'),
            ('email_verification_codes', 'used_at', 'timestamptz')
        ) as wanted (of, name, type)
        where not exists (
            select from pg_attribute
            where attrelid = to_regclass(wanted.of) and attname = wanted.name and not attisdropped
        )
    loop
        execute format('alter table %I add column %I %s', missing.of, missing.name, missing.type);
    end loop;

    -- An address is one player's. Two players with one address must be told apart by their owner first.
    if not exists (
        select from pg_index
        where indrelid = to_regclass('players') and indisunique and indpred is null and indnkeyatts = 1
            and indkey[0] = (
                select attnum from pg_attribute
                where attrelid = to_regclass('players') and attname = 'email'
            )
    ) then
        create unique index players_email_unique on players (email);
    end if;
end
$$;

-- Tables that were there keep their own indexes and policies.
do $$
declare
    wanted record;
begin
    for wanted in
        select indexes.* from (values
            ('battle_records', 'player_a', 'player_a_id, started_at desc'),
            ('battle_records', 'player_b', 'player_b_id, started_at desc'),
            ('battle_records', 'started', 'started_at'),
            ('battle_records', 'ended', 'ended_at'),
            ('battle_records', 'winner', 'winner_id'),
            ('battle_records', 'result', 'battle_result'),
            ('players', 'name', 'name'),
            ('players', 'created', 'created_at'),
            ('player_stats', 'wins', 'wins'),
            ('player_stats', 'total', 'total_battles'),
            ('email_verification_codes', 'expires', 'expires_at'),
            ('email_verification_codes', 'player', 'player_id')
        ) as indexes (of, name, columns)
        join made on made.name = indexes.of
    loop
        execute format('create index %I on %I (%s)', wanted.of || '_by_' || wanted.name, wanted.of, wanted.columns);
    end loop;
end
$$;

-- At Supabase everybody with the public key reaches these tables over HTTP: all may read, codes aside, and
-- the service role alone may write, or a connection that is nobody's session there. The owner is not asked.
do $$
declare
    name text;
    privileged constant text := $policy$
        coalesce(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role', 'service_role')
            = 'service_role'
    $policy$;
begin
    for name in select made.name from made loop
        execute format('alter table %I enable row level security', name);
        execute format(
            'create policy service_writes on %I using (%s) with check (%s)', name, privileged, privileged
        );
        if name <> 'email_verification_codes' then
            execute format('create policy all_read on %I for select using (true)', name);
        end if;
    end loop;
end
$$;

drop table made;

-- What this server keeps beside them, in a schema of its own that Supabase's HTTP API does not show.

-- Names this database, so that all nodes of a cluster can see that they mean the same one.
create table serverv2.identity (
    only_one boolean primary key default true check (only_one),
    id uuid not null default gen_random_uuid()
);
insert into serverv2.identity default values;

-- Wrong tries of a code. Rows whose code is gone are removed with old codes.
create table serverv2.code_tries (
    code_id uuid primary key,
    wrong integer not null
);

-- How many codes an address was sent, or a source has asked for, since the window was opened.
create table serverv2.code_windows (
    counted text primary key,
    opened timestamptz not null,
    codes integer not null
);
create index code_windows_by_opening on serverv2.code_windows (opened);

-- Answers to requests with a key of the client's own: the same key gets the same answer for 10 minutes.
create table serverv2.requests (
    scope text not null,
    key text not null,
    kind text not null,
    player bytea not null,
    at timestamptz not null default now(),
    primary key (scope, key)
);
create index requests_by_age on serverv2.requests (at);
