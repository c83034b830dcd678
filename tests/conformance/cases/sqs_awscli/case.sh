# Queues by the AWS command line.
set -euo pipefail
# Version 1 of the command line has an address of its own for this service in some regions, which only the flag overrides.
sqs() { aws sqs --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }

queue="cli-$RANDOM-$$"
url=$(sqs create-queue --queue-name "$queue" --attributes VisibilityTimeout=30 --query QueueUrl --output text)
[ "$(sqs get-queue-url --queue-name "$queue" --query QueueUrl --output text)" = "$url" ]
sqs list-queues --queue-name-prefix "$queue" --output text | grep -q "$url"

sqs send-message --queue-url "$url" --message-body hello \
  --message-attributes 'kind={DataType=String,StringValue=greeting}' --query MD5OfMessageBody --output text |
  grep -q 5d41402abc4b2a76b9719d911017c592
sqs send-message-batch --queue-url "$url" \
  --entries 'Id=a,MessageBody=one' 'Id=b,MessageBody=two' --query 'length(Successful)' --output text | grep -qx 2

received=$(sqs receive-message --queue-url "$url" --max-number-of-messages 10 --wait-time-seconds 5 \
  --message-attribute-names All --message-system-attribute-names All)
[ "$(echo "$received" | grep -c '"MessageId"')" = 3 ]
echo "$received" | grep -q greeting

sqs get-queue-attributes --queue-url "$url" --attribute-names ApproximateNumberOfMessagesNotVisible \
  --query 'Attributes.ApproximateNumberOfMessagesNotVisible' --output text | grep -qx 3
handle=$(echo "$received" | sed -n 's/.*"ReceiptHandle": "\(.*\)".*/\1/p' | head -1)
sqs delete-message --queue-url "$url" --receipt-handle "$handle"
sqs get-queue-attributes --queue-url "$url" --attribute-names All |
  grep -q '"ApproximateNumberOfMessagesNotVisible": "2"'

sqs tag-queue --queue-url "$url" --tags team=blue
[ "$(sqs list-queue-tags --queue-url "$url" --query Tags.team --output text)" = blue ]
sqs purge-queue --queue-url "$url"
[ -z "$(sqs receive-message --queue-url "$url")" ]
sqs delete-queue --queue-url "$url"
if refused=$(sqs get-queue-url --queue-name "$queue" 2>&1); then exit 1; fi
echo "$refused" | grep -q NonExistentQueue
