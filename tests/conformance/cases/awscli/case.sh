#!/bin/bash
# The AWS command line, unmodified: create, invoke, update, publish, alias, URL, tags, list, delete.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
name=cli-$RANDOM$RANDOM
fail() { echo "FAILED: $*" >&2; exit 1; }
# same WHAT FOUND EXPECTED
same() { [[ $2 == "$3" ]] || fail "$1: expected '$3', found '$2'"; echo "ok     $1"; }

cat > app.py <<'PY'
def handler(event, context):
    return {"version": 1, "event": event}
PY
python3 -m zipfile -c one.zip app.py
sed -i 's/"version": 1/"version": 2/' app.py
python3 -m zipfile -c two.zip app.py

state=$(aws lambda create-function --function-name "$name" --runtime python3.11 --handler app.handler \
  --role arn:aws:iam::000000000000:role/r --zip-file fileb://one.zip --query State --output text)
same create-function "$state" Active
aws lambda wait function-active-v2 --function-name "$name"

status=$(aws lambda invoke --function-name "$name" --cli-binary-format raw-in-base64-out --payload '{"a":1}' \
  --query StatusCode --output text out.json 2>err.txt) || status=$(aws lambda invoke --function-name "$name" \
  --payload '{"a":1}' --query StatusCode --output text out.json)
same invoke "$status" 200
same 'answer of invoke' "$(python3 -c 'import json; print(json.load(open("out.json")))')" "{'version': 1, 'event': {'a': 1}}"

aws lambda update-function-code --function-name "$name" --zip-file fileb://two.zip --publish --output text >/dev/null
aws lambda wait function-updated-v2 --function-name "$name"
aws lambda invoke --function-name "$name" out.json >/dev/null
same update-function-code "$(python3 -c 'import json; print(json.load(open("out.json"))["version"])')" 2

same update-function-configuration "$(aws lambda update-function-configuration --function-name "$name" --timeout 11 \
  --query Timeout --output text)" 11
same create-alias "$(aws lambda create-alias --function-name "$name" --name live --function-version 1 \
  --query FunctionVersion --output text)" 1
aws lambda invoke --function-name "$name:live" out.json --query ExecutedVersion --output text > version.txt
same 'invoke by alias' "$(cat version.txt)" 1

url=$(aws lambda create-function-url-config --function-name "$name" --auth-type NONE --query FunctionUrl --output text)
[[ $url == http* ]] || fail "create-function-url-config: $url"
echo 'ok     create-function-url-config'

arn=$(aws lambda get-function --function-name "$name" --query Configuration.FunctionArn --output text)
aws lambda tag-resource --resource "$arn" --tags team=blue
same list-tags "$(aws lambda list-tags --resource "$arn" --query Tags.team --output text)" blue
aws lambda put-function-concurrency --function-name "$name" --reserved-concurrent-executions 2 >/dev/null
same get-function-concurrency "$(aws lambda get-function-concurrency --function-name "$name" \
  --query ReservedConcurrentExecutions --output text)" 2
same put-provisioned-concurrency-config "$(aws lambda put-provisioned-concurrency-config --function-name "$name" \
  --qualifier live --provisioned-concurrent-executions 1 \
  --query RequestedProvisionedConcurrentExecutions --output text)" 1
for _ in $(seq 60); do
  ready=$(aws lambda get-provisioned-concurrency-config --function-name "$name" --qualifier live --query Status --output text)
  [[ $ready == READY ]] && break
done
same get-provisioned-concurrency-config "$ready" READY
same list-provisioned-concurrency-configs "$(aws lambda list-provisioned-concurrency-configs --function-name "$name" \
  --query 'ProvisionedConcurrencyConfigs[0].FunctionArn' --output text)" "$arn:live"
aws lambda delete-provisioned-concurrency-config --function-name "$name" --qualifier live
aws lambda put-function-event-invoke-config --function-name "$name" --maximum-retry-attempts 1 >/dev/null
same update-function-event-invoke-config "$(aws lambda update-function-event-invoke-config --function-name "$name" \
  --maximum-event-age-in-seconds 60 --query '[MaximumRetryAttempts,MaximumEventAgeInSeconds]' --output text)" $'1\t60'
same list-function-event-invoke-configs "$(aws lambda list-function-event-invoke-configs --function-name "$name" \
  --query 'FunctionEventInvokeConfigs[0].FunctionArn' --output text)" "$arn:\$LATEST"
aws lambda delete-function-event-invoke-config --function-name "$name"
aws lambda list-functions --query 'Functions[].FunctionName' --output text | grep -q "$name" || fail list-functions
echo 'ok     list-functions'

aws lambda delete-function --function-name "$name"
if aws lambda get-function --function-name "$name" 2>err.txt; then fail 'get-function of a deleted function'; fi
grep -q ResourceNotFoundException err.txt || fail "$(cat err.txt)"
echo 'ok     delete-function'
