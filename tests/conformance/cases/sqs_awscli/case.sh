# Queues by the AWS command line.
set -euo pipefail

queue="cli-$RANDOM-$$"
url=$(aws sqs create-queue --queue-name "$queue" --attributes VisibilityTimeout=30 --query QueueUrl --output text)
[ "$(aws sqs get-queue-url --queue-name "$queue" --query QueueUrl --output text)" = "$url" ]
aws sqs list-queues --queue-name-prefix "$queue" --output text | grep -q "$url"

aws sqs send-message --queue-url "$url" --message-body hello \
  --message-attributes 'kind={DataType=String,StringValue=greeting}' --query MD5OfMessageBody --output text |
  grep -q 5d41402abc4b2a76b9719d911017c592
aws sqs send-message-batch --queue-url "$url" \
  --entries 'Id=a,MessageBody=one' 'Id=b,MessageBody=two' --query 'length(Successful)' --output text | grep -qx 2

received=$(aws sqs receive-message --queue-url "$url" --max-number-of-messages 10 --wait-time-seconds 5 \
  --message-attribute-names All --message-system-attribute-names All)
[ "$(echo "$received" | grep -c '"MessageId"')" = 3 ]
echo "$received" | grep -q greeting

aws sqs get-queue-attributes --queue-url "$url" --attribute-names ApproximateNumberOfMessagesNotVisible \
  --query 'Attributes.ApproximateNumberOfMessagesNotVisible' --output text | grep -qx 3
handle=$(echo "$received" | sed -n 's/.*"ReceiptHandle": "\(.*\)".*/\1/p' | head -1)
aws sqs delete-message --queue-url "$url" --receipt-handle "$handle"
aws sqs get-queue-attributes --queue-url "$url" --attribute-names All |
  grep -q '"ApproximateNumberOfMessagesNotVisible": "2"'

aws sqs tag-queue --queue-url "$url" --tags team=blue
[ "$(aws sqs list-queue-tags --queue-url "$url" --query Tags.team --output text)" = blue ]
aws sqs purge-queue --queue-url "$url"
[ -z "$(aws sqs receive-message --queue-url "$url")" ]
aws sqs delete-queue --queue-url "$url"
if refused=$(aws sqs get-queue-url --queue-name "$queue" 2>&1); then exit 1; fi
echo "$refused" | grep -q NonExistentQueue
