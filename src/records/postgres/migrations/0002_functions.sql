-- The functions of the existing server (contract 6.3). One that is there already is kept.

do $migration$
begin
    if to_regproc('get_player_battle_records') is null then
        create function get_player_battle_records(
            player text, page_size integer default 20, page_start integer default 0
        ) returns table (
            id text, opponent_id text, opponent_name text, is_winner boolean, battle_result text,
            started_at timestamptz, ended_at timestamptz, duration_seconds integer
        ) language sql stable as $function$
            select
                r.id,
                case when r.player_a_id = player then r.player_b_id else r.player_a_id end,
                case when r.player_a_id = player then r.player_b_name else r.player_a_name end,
                r.winner_id = player,
                r.battle_result, r.started_at, r.ended_at, r.duration_seconds
            from battle_records r
            where player in (r.player_a_id, r.player_b_id)
            order by r.started_at desc, r.id
            limit page_size offset page_start
        $function$;
    end if;

    if to_regproc('get_leaderboard') is null then
        create function get_leaderboard(page_size integer default 50, page_start integer default 0)
        returns table (
            player_id text, player_name text, total_battles integer, wins integer, losses integer,
            draws integer, win_rate numeric
        ) language sql stable as $function$
            select
                p.id, p.name, s.total_battles, s.wins, s.losses, s.draws,
                case when s.total_battles > 0 then round(100.0 * s.wins / s.total_battles, 2) else 0 end as rate
            from player_stats s join players p on p.id = s.player_id
            order by s.wins desc, rate desc, s.total_battles desc, p.id
            limit page_size offset page_start
        $function$;
    end if;

    if to_regproc('get_battle_statistics') is null then
        create function get_battle_statistics() returns table (
            total_battles bigint, total_players bigint, battles_today bigint, battles_this_week bigint,
            avg_battle_duration numeric
        ) language sql stable as $function$
            select
                count(*),
                count(distinct player_a_id) + count(distinct player_b_id),
                count(*) filter (where started_at >= current_date),
                count(*) filter (where started_at >= date_trunc('week', current_date::timestamptz)),
                coalesce(round(avg(duration_seconds), 2), 0)
            from battle_records
            where ended_at is not null
        $function$;
    end if;

    if to_regproc('search_players') is null then
        create function search_players(term text, page_size integer default 20) returns table (
            id text, name text, total_battles integer, wins integer, win_rate numeric
        ) language sql stable as $function$
            select
                p.id, p.name, coalesce(s.total_battles, 0), coalesce(s.wins, 0),
                case when s.total_battles > 0 then round(100.0 * s.wins / s.total_battles, 2) else 0 end
            from players p left join player_stats s on s.player_id = p.id
            where position(lower(term) in lower(p.name)) > 0
            order by s.wins desc nulls last, p.name, p.id
            limit page_size
        $function$;
    end if;

    if to_regproc('cleanup_abandoned_battles') is null then
        -- With a duration, which a row with an end needs.
        create function cleanup_abandoned_battles(hours integer default 24) returns integer
        language sql as $function$
            with closed as (
                update battle_records
                set ended_at = now(), battle_result = 'abandoned', end_reason = 'timeout',
                    duration_seconds = greatest(1, round(extract(epoch from now() - started_at)))::integer
                where ended_at is null and started_at < now() - make_interval(hours => hours)
                returning 1
            )
            select count(*)::integer from closed
        $function$;
    end if;

    if to_regproc('cleanup_old_battle_records') is null then
        create function cleanup_old_battle_records(days integer default 7) returns integer
        language sql as $function$
            with gone as (
                delete from battle_records where started_at < now() - make_interval(days => days) returning 1
            )
            select count(*)::integer from gone
        $function$;
    end if;

    if to_regproc('cleanup_expired_verification_codes') is null then
        create function cleanup_expired_verification_codes() returns integer
        language sql as $function$
            with gone as (
                delete from email_verification_codes where expires_at < now() - interval '1 hour' returning 1
            )
            select count(*)::integer from gone
        $function$;
    end if;
end
$migration$;
