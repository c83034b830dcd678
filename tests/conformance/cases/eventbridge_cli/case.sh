#!/bin/bash
# The AWS command line, unmodified: rules, targets, events, schedules.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
name=cli-$RANDOM$RANDOM
fail() { echo "FAILED: $*" >&2; exit 1; }
# same WHAT FOUND EXPECTED
same() { [[ $2 == "$3" ]] || fail "$1: expected '$3', found '$2'"; echo "ok     $1"; }

same put-rule "$(aws events put-rule --name "$name" --event-pattern '{"source":["shop"]}' --query RuleArn --output text)" \
  "arn:aws:events:us-east-1:000000000000:rule/$name"
same put-targets "$(aws events put-targets --rule "$name" \
  --targets Id=1,Arn=arn:aws:lambda:us-east-1:000000000000:function:none --query FailedEntryCount --output text)" 0
same list-targets-by-rule "$(aws events list-targets-by-rule --rule "$name" --query 'Targets[0].Id' --output text)" 1
same put-events "$(aws events put-events --entries '[{"Source":"shop","DetailType":"t","Detail":"{}"}]' \
  --query FailedEntryCount --output text)" 0
same remove-targets "$(aws events remove-targets --rule "$name" --ids 1 --query FailedEntryCount --output text)" 0
aws events delete-rule --name "$name"
same list-rules "$(aws events list-rules --name-prefix "$name" --query 'length(Rules)' --output text)" 0

target='{"Arn":"arn:aws:lambda:us-east-1:000000000000:function:none","RoleArn":"arn:aws:iam::000000000000:role/r"}'
same create-schedule "$(aws scheduler create-schedule --name "$name" --schedule-expression 'cron(0 3 * * ? *)' \
  --flexible-time-window Mode=OFF --target "$target" --query ScheduleArn --output text)" \
  "arn:aws:scheduler:us-east-1:000000000000:schedule/default/$name"
same get-schedule "$(aws scheduler get-schedule --name "$name" --query State --output text)" ENABLED
same list-schedules "$(aws scheduler list-schedules --name-prefix "$name" --query 'length(Schedules)' --output text)" 1
aws scheduler delete-schedule --name "$name"
same 'list-schedules after' "$(aws scheduler list-schedules --name-prefix "$name" --query 'length(Schedules)' --output text)" 0
